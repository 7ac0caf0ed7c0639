//! Programs against a model of what they mean, by an interpreter of the few instructions that they use.

use proptest::prelude::*;

use super::*;
use crate::policy::{Reach, Rule};
use crate::{Nesting, default_policy};

/// What the kernel hands a filter.
#[derive(Debug, Clone, Copy)]
struct Call {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            NUMBER_AT => self.number,
            ARCHITECTURE_AT => self.architecture,
            _ => {
                let (high, low) = halves(self.arguments[(offset as usize - 16) / 8]);
                let is_first = offset.is_multiple_of(8);
                if is_first == cfg!(target_endian = "little") { low } else { high }
            }
        }
    }
}

fn run(program: &Program, call: &Call) -> u32 {
    let (mut at, mut word) = (0_usize, 0_u32);
    for _ in 0..program.0.len() {
        let step = program.0[at];
        at += 1;
        let skip = |holds: bool| usize::from(if holds { step.jump_true } else { step.jump_false });
        match step.code {
            LOAD => word = call.word(step.operand),
            AND => word &= step.operand,
            RETURN => return step.operand,
            JUMP => at += step.operand as usize,
            JUMP_EQUAL => at += skip(word == step.operand),
            JUMP_GREATER => at += skip(word > step.operand),
            JUMP_GREATER_OR_EQUAL => at += skip(word >= step.operand),
            other => panic!("{other:#x}"),
        }
    }
    panic!("it does not end")
}

/// What a policy means, said without a program.
fn meant(policy: &Policy, architecture: Architecture, call: &Call) -> Action {
    let is_it = |rule: &&Rule| {
        let number = rule.call.parse().ok().or_else(|| architecture.number(&rule.call));
        rule.reach.covers(architecture) && number == Some(call.number)
    };
    let own: Vec<&Rule> = policy.rules.iter().filter(is_it).collect();
    let holds = |rule: &&&Rule| rule.conditions.iter().all(|condition| condition.holds(&call.arguments));
    let with = own.iter().filter(|rule| !rule.conditions.is_empty()).find(holds);
    let without = own.iter().find(|rule| rule.conditions.is_empty());
    match with.or(without) {
        Some(rule) => rule.action,
        None if policy.unknown == Unknown::Missing && call.number > architecture.last() => {
            Action::Errno(ENOSYS)
        }
        None => policy.default,
    }
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Allow),
        Just(Action::Kill),
        Just(Action::Trap),
        (1_u16..133).prop_map(Action::Errno)
    ]
}

/// Values around the places where halves and signs change.
fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        0_u64..4,
        Just(u64::MAX),
        Just(0xffff_ffff),
        Just(0x1_0000_0000),
        Just(0x8000_0000_0000_0000),
        any::<u64>()
    ]
}

fn conditions() -> impl Strategy<Value = Condition> {
    let comparisons = prop_oneof![
        Just(Comparison::NotEqual),
        Just(Comparison::Less),
        Just(Comparison::LessOrEqual),
        Just(Comparison::Equal),
        Just(Comparison::GreaterOrEqual),
        Just(Comparison::Greater),
        values().prop_map(Comparison::EqualIn),
        values().prop_map(Comparison::NotEqualIn)
    ];
    (0_u8..6, comparisons, values()).prop_map(|(argument, comparison, value)| Condition {
        argument,
        comparison,
        value,
    })
}

const CALLS: [&str; 9] =
    ["read", "write", "open", "openat2", "socket", "socketcall", "kexec_load", "17", "400"];

fn rules() -> impl Strategy<Value = Rule> {
    let reach = prop_oneof![
        Just(Reach::All),
        Just(Reach::Only(Architecture::X86_64)),
        Just(Reach::Only(Architecture::X86))
    ];
    (reach, prop::sample::select(&CALLS[..]), actions(), prop::collection::vec(conditions(), 0..3)).prop_map(
        |(reach, call, action, conditions)| Rule { reach, call: call.to_owned(), action, conditions },
    )
}

fn policies() -> impl Strategy<Value = Policy> {
    let unknown = prop_oneof![Just(Unknown::AsDefault), Just(Unknown::Missing)];
    (actions(), unknown, prop::collection::vec(rules(), 0..12)).prop_map(|(default, unknown, rules)| Policy {
        default,
        unknown,
        rules,
    })
}

const BOTH: [Architecture; 2] = [Architecture::X86_64, Architecture::X86];

proptest! {
    #[test]
    fn a_program_answers_what_its_policy_means(
        policy in policies(),
        architecture in prop::sample::select(&BOTH[..]),
        number in prop_oneof![0_u32..480, Just(246), Just(283), 400_u32..1000],
        arguments in prop::array::uniform6(values()),
    ) {
        let program = compile(&policy, &BOTH).unwrap();
        let call = Call { number, architecture: architecture.audit_number(), arguments };
        prop_assert_eq!(run(&program, &call), code_of(meant(&policy, architecture, &call)));
    }
}

fn ask(program: &Program, architecture: Architecture, name: &str, arguments: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let number = architecture.number(name).unwrap();
    run(program, &Call { number, architecture: architecture.audit_number(), arguments: all })
}

const ALLOWED: u32 = 0x7fff_0000;

#[test]
fn the_default_refuses_what_no_container_needs_and_nothing_else() {
    const HIGH: u64 = 0xdead_0000_0000_0000;
    let program = compile(&default_policy(Nesting::Refused), Architecture::of_this_machine()).unwrap();
    let own = Architecture::of_this_machine()[0];
    let table: [(&str, &[u64], bool); 23] = [
        ("read", &[], true),
        ("mount", &[], true),
        ("socket", &[1, 1, 0], true),
        ("socket", &[2, 1, 0], true),
        ("socket", &[16, 3, 0], true),
        ("socket", &[17, 3, 0], true),
        // AF_ALG, also behind bits that the kernel does not look at; AF_VSOCK; the audit system.
        ("socket", &[38, 5, 0], false),
        ("socket", &[HIGH | 38, 5, 0], false),
        ("socket", &[HIGH | 2, 1, 0], true),
        ("socket", &[40, 1, 0], false),
        ("socket", &[16, 3, 9], false),
        ("socket", &[HIGH | 16, 3, HIGH | 9], false),
        ("io_uring_setup", &[], false),
        ("keyctl", &[], false),
        ("kexec_load", &[], false),
        ("ioctl", &[0, 0x5401], true),
        ("ioctl", &[0, 0x5412], false),
        ("ioctl", &[0, HIGH | 0x5412], false),
        ("umount2", &[0, 2], true),
        ("umount2", &[0, 3], false),
        ("unshare", &[0x1000_0000], false),
        ("unshare", &[0x2000_0000], true),
        ("clone", &[0x1000_0000 | 17], false),
    ];
    for (name, arguments, is_allowed) in table {
        let answer = ask(&program, own, name, arguments);
        assert_eq!(answer == ALLOWED, is_allowed, "{name} {arguments:x?}: {answer:#x}");
    }
    let newer = Call { number: 900, architecture: own.audit_number(), arguments: [0; 6] };
    assert_eq!(run(&program, &newer), code_of(Action::Errno(ENOSYS)));
}

#[test]
fn nesting_allows_user_namespaces_and_only_them() {
    let program = compile(&default_policy(Nesting::Allowed), Architecture::of_this_machine()).unwrap();
    let own = Architecture::of_this_machine()[0];
    assert_eq!(ask(&program, own, "unshare", &[0x1000_0000]), ALLOWED);
    assert_eq!(ask(&program, own, "clone3", &[]), ALLOWED);
    assert_ne!(ask(&program, own, "socket", &[38, 5, 0]), ALLOWED);
}

#[test]
fn x32_is_missing_by_default_and_programs_of_other_machines_are_killed() {
    let both = [Architecture::X86_64, Architecture::X86, Architecture::X32];
    let program = compile(&default_policy(Nesting::Refused), &both).unwrap();
    let x32 = Call { number: X32_BIT, architecture: Architecture::X32.audit_number(), arguments: [0; 6] };
    assert_eq!(run(&program, &x32), code_of(Action::Errno(ENOSYS)));
    let arm = Call { number: 0, architecture: Architecture::Arm64.audit_number(), arguments: [0; 6] };
    assert_eq!(run(&program, &arm), KILL_PROCESS);
}

#[test]
fn a_list_of_every_call_fits() {
    let mut text = "2\nallowlist\n[all]\n".to_owned();
    for number in 0..470 {
        text.push_str(&format!("{number} allow [0,{number},==]\n"));
    }
    let policy = Policy::parse(&text).unwrap();
    assert!(compile(&policy, &[Architecture::X86_64]).unwrap_err() > PROGRAM_MAX);
    let plain: Vec<&str> = text.lines().map(|line| line.split(" allow").next().unwrap()).collect();
    let policy = Policy::parse(&plain.join("\n")).unwrap();
    assert!(compile(&policy, &BOTH).unwrap().0.len() < 40);
}

#[test]
fn every_call_of_the_default_has_a_number_somewhere() {
    for rule in default_policy(Nesting::Refused).rules {
        assert!(Architecture::any_has(&rule.call), "{}", rule.call);
    }
}
