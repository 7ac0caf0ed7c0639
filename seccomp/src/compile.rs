//! From a policy to the program that the kernel asks about every system call.
//!
//! ```text
//! architecture? ──┬─ x86_64: number? ─ search tree over segments ─┬─ body ─ conditions ─ answer
//!                 ├─ x86:    …                                    └─ answer
//!                 └─ other:  kill
//! ```
//!
//! Numbers that get the same treatment side by side are one segment, so that a list of hundreds of calls is a tree of a few dozen
//! comparisons, six or seven deep. A comparison jumps over at most one instruction; what is further away is reached by a plain
//! jump, because conditional jumps reach 255 instructions only.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::architecture::{Architecture, X32_BIT};
use crate::policy::{Action, Comparison, Condition, Policy, Unknown};

/// One instruction of the kernel's classic packet filters (`struct sock_filter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// What is done.
    pub code: u16,
    /// How many instructions are passed over when a comparison holds.
    pub jump_true: u8,
    /// The same when it does not.
    pub jump_false: u8,
    /// The operand.
    pub operand: u32,
}

/// A filter, ready for seccomp(2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program(pub Vec<Instruction>);

/// Longer programs are refused by the kernel.
const PROGRAM_MAX: usize = 4096;

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_GREATER: u16 = 0x25;
const JUMP_GREATER_OR_EQUAL: u16 = 0x35;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

/// Where `struct seccomp_data` has the number, the architecture, and the arguments.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

const ENOSYS: u16 = 38;
const KILL_PROCESS: u32 = 0x8000_0000;

/// Compiles a policy for programs of these architectures.
///
/// # Behavior
/// Programs of any other architecture are killed at their first call; the kernel of this machine has none
/// ([`Architecture::of_this_machine`]). Where [`Unknown::Missing`] holds, calls of x32 fail as missing: nothing of a usual
/// distribution uses them.
///
/// # Errors
/// The length of the program, when the kernel would refuse it as too long.
pub fn compile(policy: &Policy, architectures: &[Architecture]) -> Result<Program, usize> {
    let mut assembler = Assembler::default();
    let served = |architecture: &Architecture| {
        *architecture != Architecture::X32 || policy.unknown == Unknown::AsDefault
    };
    let served: Vec<Architecture> = architectures.iter().copied().filter(served).collect();
    assembler.load(ARCHITECTURE_AT);
    let blocks: Vec<(Architecture, Label)> =
        served.iter().filter(|a| **a != Architecture::X32).map(|a| (*a, assembler.label())).collect();
    for (architecture, block) in &blocks {
        assembler.when(JUMP_EQUAL, architecture.audit_number(), *block);
    }
    assembler.answer(KILL_PROCESS);
    for (architecture, block) in blocks {
        assembler.bind(block);
        assembler.load(NUMBER_AT);
        if architecture == Architecture::X86_64 {
            let x32 = assembler.label();
            assembler.when(JUMP_GREATER_OR_EQUAL, X32_BIT, x32);
            assembler.calls(policy, architecture);
            assembler.bind(x32);
            if served.contains(&Architecture::X32) {
                assembler.calls(policy, Architecture::X32);
            } else {
                assembler.answer(code_of(Action::Errno(ENOSYS)));
            }
        } else {
            assembler.calls(policy, architecture);
        }
    }
    let program = assembler.finish();
    if program.len() > PROGRAM_MAX { Err(program.len()) } else { Ok(Program(program)) }
}

/// Returns what the kernel is told for an action (`SECCOMP_RET_*`).
fn code_of(action: Action) -> u32 {
    match action {
        Action::Allow => 0x7fff_0000,
        Action::Errno(number) => 0x0005_0000 | u32::from(number),
        Action::Trap => 0x0003_0000,
        Action::Kill => 0,
        Action::Notify => 0x7fc0_0000,
    }
}

/// What happens to the calls of a segment: alternatives, of which the first whose conditions hold decides, and what else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Body {
    alternatives: Vec<(Vec<Condition>, Action)>,
    otherwise: Option<Action>,
}

impl Body {
    fn answers(action: Action) -> Self {
        Self { alternatives: Vec::new(), otherwise: Some(action) }
    }
}

/// Returns the segments of an architecture's numbers: where each begins and what happens in it, the first at 0.
fn segments(policy: &Policy, architecture: Architecture) -> Vec<(u32, Body)> {
    let mut listed: BTreeMap<u32, Body> = BTreeMap::new();
    for rule in policy.rules.iter().filter(|rule| rule.reach.covers(architecture)) {
        let number = rule.call.parse().ok().or_else(|| architecture.number(&rule.call));
        let Some(number) = number else { continue };
        let body = listed.entry(number).or_default();
        if rule.conditions.is_empty() {
            body.otherwise = body.otherwise.or(Some(rule.action));
        } else {
            body.alternatives.push((rule.conditions.clone(), rule.action));
        }
    }
    let usual = Body::answers(policy.default);
    let mut segments = vec![(0, usual.clone())];
    let mut add = |start: u32, body: Body| {
        segments.retain(|(known, _)| *known != start);
        if segments.last().is_none_or(|(_, last)| *last != body) {
            segments.push((start, body));
        }
    };
    for (number, mut body) in listed {
        body.otherwise = body.otherwise.or(Some(policy.default));
        add(number, body);
        add(number + 1, usual.clone());
    }
    if policy.unknown == Unknown::Missing {
        let last = architecture.last();
        add(last + 1, Body::answers(Action::Errno(ENOSYS)));
    }
    segments
}

/// A place in the program that is jumped to.
#[derive(Debug, Clone, Copy)]
struct Label(usize);

#[derive(Debug, Default)]
struct Assembler {
    program: Vec<Instruction>,
    /// Where each label is.
    places: Vec<usize>,
    /// Plain jumps whose distance is not known yet.
    open: Vec<(usize, Label)>,
}

impl Assembler {
    fn label(&mut self) -> Label {
        self.places.push(0);
        Label(self.places.len() - 1)
    }

    fn bind(&mut self, label: Label) {
        if let Some(place) = self.places.get_mut(label.0) {
            *place = self.program.len();
        }
    }

    fn push(&mut self, code: u16, jump_true: u8, jump_false: u8, operand: u32) {
        self.program.push(Instruction { code, jump_true, jump_false, operand });
    }

    fn load(&mut self, offset: u32) {
        self.push(LOAD, 0, 0, offset);
    }

    fn answer(&mut self, code: u32) {
        self.push(RETURN, 0, 0, code);
    }

    fn jump(&mut self, target: Label) {
        self.open.push((self.program.len(), target));
        self.push(JUMP, 0, 0, 0);
    }

    /// Jumps when the comparison holds.
    fn when(&mut self, comparison: u16, operand: u32, target: Label) {
        self.push(comparison, 0, 1, operand);
        self.jump(target);
    }

    /// Jumps when the comparison does not hold.
    fn unless(&mut self, comparison: u16, operand: u32, target: Label) {
        self.push(comparison, 1, 0, operand);
        self.jump(target);
    }

    /// The calls of one architecture; their number is loaded.
    fn calls(&mut self, policy: &Policy, architecture: Architecture) {
        let segments = segments(policy, architecture);
        let mut bodies: Vec<(Body, Label)> = Vec::new();
        let mut targets = Vec::new();
        for (start, body) in segments {
            let known = bodies.iter().find(|(known, _)| *known == body).map(|(_, label)| *label);
            let label = known.unwrap_or_else(|| {
                let label = self.label();
                bodies.push((body, label));
                label
            });
            targets.push((start, label));
        }
        self.search(&targets);
        for (body, label) in bodies {
            self.bind(label);
            self.body(&body);
        }
    }

    /// Finds the segment of the loaded number.
    fn search(&mut self, targets: &[(u32, Label)]) {
        let (left, right) = targets.split_at(targets.len() / 2);
        match (left, right) {
            ([], [(_, only), ..]) => self.jump(*only),
            (_, [(start, _), ..]) => {
                let upper = self.label();
                self.when(JUMP_GREATER_OR_EQUAL, *start, upper);
                self.search(left);
                self.bind(upper);
                self.search(right);
            }
            (_, []) => {}
        }
    }

    fn body(&mut self, body: &Body) {
        for (conditions, action) in &body.alternatives {
            let next = self.label();
            conditions.iter().for_each(|condition| self.condition(condition, next));
            self.answer(code_of(*action));
            self.bind(next);
        }
        if let Some(action) = body.otherwise {
            self.answer(code_of(action));
        }
    }

    /// Goes on when the condition holds, else to `fail`. The machine has words of 32 bits.
    fn condition(&mut self, condition: &Condition, fail: Label) {
        let (high, low) = halves(condition.value);
        let (load_high, load_low) = places(condition.argument);
        let pass = self.label();
        self.load(load_high);
        match condition.comparison {
            Comparison::Equal => {
                self.unless(JUMP_EQUAL, high, fail);
                self.load(load_low);
                self.unless(JUMP_EQUAL, low, fail);
            }
            Comparison::NotEqual => {
                self.unless(JUMP_EQUAL, high, pass);
                self.load(load_low);
                self.when(JUMP_EQUAL, low, fail);
            }
            Comparison::EqualIn(mask) => {
                let (mask_high, mask_low) = halves(mask);
                self.push(AND, 0, 0, mask_high);
                self.unless(JUMP_EQUAL, high & mask_high, fail);
                self.load(load_low);
                self.push(AND, 0, 0, mask_low);
                self.unless(JUMP_EQUAL, low & mask_low, fail);
            }
            Comparison::NotEqualIn(mask) => {
                let (mask_high, mask_low) = halves(mask);
                self.push(AND, 0, 0, mask_high);
                self.unless(JUMP_EQUAL, high & mask_high, pass);
                self.load(load_low);
                self.push(AND, 0, 0, mask_low);
                self.when(JUMP_EQUAL, low & mask_low, fail);
            }
            Comparison::Greater | Comparison::GreaterOrEqual => {
                let of_low = if condition.comparison == Comparison::Greater {
                    JUMP_GREATER
                } else {
                    JUMP_GREATER_OR_EQUAL
                };
                self.when(JUMP_GREATER, high, pass);
                self.unless(JUMP_EQUAL, high, fail);
                self.load(load_low);
                self.unless(of_low, low, fail);
            }
            Comparison::Less | Comparison::LessOrEqual => {
                let of_low = if condition.comparison == Comparison::Less {
                    JUMP_GREATER_OR_EQUAL
                } else {
                    JUMP_GREATER
                };
                self.when(JUMP_GREATER, high, fail);
                self.unless(JUMP_EQUAL, high, pass);
                self.load(load_low);
                self.when(of_low, low, fail);
            }
        }
        self.bind(pass);
    }

    fn finish(mut self) -> Vec<Instruction> {
        for (at, target) in self.open {
            let place = self.places.get(target.0).copied().unwrap_or(at);
            // Code is only ever jumped to ahead.
            let distance = u32::try_from(place.saturating_sub(at + 1)).unwrap_or(u32::MAX);
            if let Some(instruction) = self.program.get_mut(at) {
                instruction.operand = distance;
            }
        }
        self.program
    }
}

fn halves(value: u64) -> (u32, u32) {
    let bytes = value.to_be_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]))
}

/// Returns where the upper and the lower half of an argument are.
fn places(argument: u8) -> (u32, u32) {
    let at = ARGUMENTS_AT + 8 * u32::from(argument);
    if cfg!(target_endian = "little") { (at + 4, at) } else { (at, at + 4) }
}

#[cfg(test)]
mod tests;
