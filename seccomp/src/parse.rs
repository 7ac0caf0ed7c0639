//! LXC's language for policies, versions 1 and 2.
//!
//! ```text
//! 2                                     the version
//! denylist                              or allowlist; a default action may stand behind
//! reject_force_umount
//! [all]                                 for whom the following lines are
//! kexec_load errno 1
//! socket errno 97 [0,38,SCMP_CMP_EQ]
//! ```

use std::fmt;

use crate::architecture::Architecture;
use crate::policy::{Action, Comparison, Condition, Policy, Reach, Rule, Unknown};

/// What is wrong with a policy, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.why)
    }
}

impl std::error::Error for PolicyError {}

/// Forcing a file system away breaks those who share it.
const MNT_FORCE: u64 = 1;
const EACCES: u16 = 13;
const CONDITIONS_MAX: usize = 6;

/// A line that says something, with its number.
#[derive(Clone, Copy)]
struct Line<'a> {
    number: usize,
    text: &'a str,
}

impl Line<'_> {
    fn error(self, part: &str, why: impl Into<String>) -> PolicyError {
        // `part` is a slice of the line where it matters; else the first column is told.
        let at = (part.as_ptr() as usize).checked_sub(self.text.as_ptr() as usize);
        let column = at.and_then(|at| self.text.get(..at)).map_or(1, |before| before.chars().count() + 1);
        PolicyError { line: self.number, column, why: why.into() }
    }
}

impl Policy {
    /// Reads a policy of LXC's.
    ///
    /// # Behavior
    /// Sections for architectures of other machines are checked and left out. A call that only some architectures have is
    /// left out for the others.
    ///
    /// # Errors
    /// The first mistake, with line and column.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let mut lines = text.lines().enumerate().map(|(at, text)| Line { number: at + 1, text });
        let end =
            |why: &str| PolicyError { line: text.lines().count().max(1), column: 1, why: why.to_owned() };
        let mut next = || lines.find(|line| !without_comment(line.text).trim().is_empty());
        let version =
            next().ok_or_else(|| end("the policy is empty; its first line is its version, 1 or 2"))?;
        let kind = next().ok_or_else(|| end("the second line says `allowlist` or `denylist`"))?;
        match without_comment(version.text).trim() {
            "1" => parse_1(kind, lines),
            "2" => parse_2(kind, lines),
            other => Err(version.error(other, format!("`{other}` is no version of a policy: write 1 or 2"))),
        }
    }
}

fn without_comment(text: &str) -> &str {
    text.split('#').next().unwrap_or("")
}

fn parse_1<'a>(kind: Line<'a>, lines: impl Iterator<Item = Line<'a>>) -> Result<Policy, PolicyError> {
    if !without_comment(kind.text).contains("allowlist") {
        return Err(kind.error(kind.text.trim_start(), "version 1 has only `allowlist`"));
    }
    let mut policy = Policy { default: Action::Kill, unknown: Unknown::AsDefault, rules: Vec::new() };
    for line in lines {
        let word = without_comment(line.text).trim();
        if word.is_empty() {
            continue;
        }
        if word.parse::<u32>().is_err() {
            return Err(line.error(word, format!("`{word}` is no number of a system call")));
        }
        policy.rules.push(Rule {
            reach: Reach::All,
            call: word.to_owned(),
            action: Action::Allow,
            conditions: Vec::new(),
        });
    }
    Ok(policy)
}

fn parse_2<'a>(kind: Line<'a>, lines: impl Iterator<Item = Line<'a>>) -> Result<Policy, PolicyError> {
    let mut words = without_comment(kind.text).split_whitespace();
    let list = words.next().unwrap_or("");
    // What a listed call gets, and what the others get, unless it is said.
    let (of_listed, of_others) = match list {
        "allowlist" | "whitelist" => (Action::Allow, Action::Kill),
        "denylist" | "blacklist" => (Action::Kill, Action::Allow),
        _ => return Err(kind.error(list, format!("`{list}` is neither `allowlist` nor `denylist`"))),
    };
    let rest: Vec<&str> = words.collect();
    let default = if rest.is_empty() { of_others } else { action(kind, &rest)?.0 };
    let mut policy = Policy { default, unknown: Unknown::AsDefault, rules: Vec::new() };
    let mut reach = Some(Reach::All);
    for line in lines {
        let text = without_comment(line.text).trim();
        if let Some(section) = text.strip_prefix('[') {
            reach = section_of(line, section.trim_end_matches(']').trim())?;
        } else if text == "reject_force_umount" {
            policy.rules.push(force_umount());
        } else if !text.is_empty() {
            let rule = rule(line, text, of_listed, reach)?;
            policy.rules.extend(rule.filter(|_| reach.is_some()));
        }
    }
    Ok(policy)
}

/// Returns for whom a section is; `None` when for nobody whom this build knows.
fn section_of(line: Line<'_>, word: &str) -> Result<Option<Reach>, PolicyError> {
    match (word, Architecture::parse(word)) {
        ("all", _) => Ok(Some(Reach::All)),
        (_, Some(architecture)) => Ok(Some(Reach::Only(architecture))),
        _ if Architecture::is_foreign(word) => Ok(None),
        _ => Err(line.error(word, format!("`{word}` is no architecture"))),
    }
}

fn force_umount() -> Rule {
    let condition = Condition { argument: 1, comparison: Comparison::EqualIn(MNT_FORCE), value: MNT_FORCE };
    Rule {
        reach: Reach::All,
        call: "umount2".to_owned(),
        action: Action::Errno(EACCES),
        conditions: vec![condition],
    }
}

fn rule(
    line: Line<'_>,
    text: &str,
    usual: Action,
    reach: Option<Reach>,
) -> Result<Option<Rule>, PolicyError> {
    let (front, conditions) = match text.find('[') {
        Some(at) => (&text[..at], conditions(line, &text[at..])?),
        None => (text, Vec::new()),
    };
    let words: Vec<&str> = front.split_whitespace().collect();
    let [call, rest @ ..] = &words[..] else { return Err(line.error(text, "the system call is missing")) };
    if call.parse::<u32>().is_err() && !Architecture::any_has(call) {
        return Err(line.error(call, format!("there is no system call `{call}`")));
    }
    let action = if rest.is_empty() {
        usual
    } else {
        let (action, used) = action(line, rest)?;
        if let Some(word) = rest.get(used) {
            return Err(line.error(word, format!("`{word}` is too much here")));
        }
        action
    };
    let reach = reach.unwrap_or(Reach::All);
    Ok(Some(Rule { reach, call: (*call).to_owned(), action, conditions }))
}

/// Reads an action and returns how many words it has.
fn action(line: Line<'_>, words: &[&str]) -> Result<(Action, usize), PolicyError> {
    let Some((word, rest)) = words.split_first() else { return Err(line.error("", "the action is missing")) };
    Ok(match *word {
        "kill" => (Action::Kill, 1),
        "trap" => (Action::Trap, 1),
        "allow" => (Action::Allow, 1),
        "notify" => (Action::Notify, 1),
        "errno" => {
            let number = rest.first().and_then(|number| number.parse().ok()).filter(|number| *number < 4096);
            let number = number.ok_or_else(|| line.error(word, "`errno` needs its number, below 4096"))?;
            (Action::Errno(number), 2)
        }
        other => {
            let why =
                format!("`{other}` is no action: write allow, kill, trap, notify or errno and its number");
            return Err(line.error(other, why));
        }
    })
}

/// Reads `[index,value,op]` or `[index,value,op,mask]`, as often as they stand there.
fn conditions(line: Line<'_>, text: &str) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    let mut rest = text;
    while !rest.trim_start_matches([',', ' ', '\t']).is_empty() {
        rest = rest.trim_start_matches([',', ' ', '\t']);
        let inner = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (inner, behind) = inner.ok_or_else(|| line.error(rest, "a condition is `[index,value,op]`"))?;
        conditions.push(condition(line, inner)?);
        rest = behind;
    }
    if conditions.len() > CONDITIONS_MAX {
        return Err(line.error(text, "a rule has at most six conditions"));
    }
    Ok(conditions)
}

fn condition(line: Line<'_>, text: &str) -> Result<Condition, PolicyError> {
    let bad = |why: &str| line.error(text, format!("`[{text}]`: {why}"));
    let fields: Vec<&str> = text.split(',').map(str::trim).collect();
    let (argument, value, operator, mask) = match fields[..] {
        [argument, value, operator] => (argument, value, operator, None),
        [argument, value, operator, mask] => (argument, value, operator, Some(mask)),
        _ => return Err(bad("a condition is `index,value,op` or `index,value,op,mask`")),
    };
    let argument = argument.parse().ok().filter(|at| *at < 6).ok_or_else(|| bad("the index is 0 to 5"))?;
    let value = number(value).ok_or_else(|| bad("the value is no number"))?;
    let mask = match mask {
        Some(mask) => Some(number(mask).ok_or_else(|| bad("the mask is no number"))?),
        None => None,
    };
    let comparison = match (operator, mask) {
        ("SCMP_CMP_NE" | "!=", None) => Comparison::NotEqual,
        ("SCMP_CMP_LT" | "<", None) => Comparison::Less,
        ("SCMP_CMP_LE" | "<=", None) => Comparison::LessOrEqual,
        ("SCMP_CMP_EQ" | "==", None) => Comparison::Equal,
        ("SCMP_CMP_GE" | ">=", None) => Comparison::GreaterOrEqual,
        ("SCMP_CMP_GT" | ">", None) => Comparison::Greater,
        ("SCMP_CMP_MASKED_EQ" | "&=", Some(mask)) => Comparison::EqualIn(mask),
        // LXC takes the value for the mask when there is none.
        ("SCMP_CMP_MASKED_EQ" | "&=", None) => Comparison::EqualIn(value),
        _ => return Err(bad("the operator is one of != < <= == >= > &=, or SCMP_CMP_NE and so on")),
    };
    Ok(Condition { argument, comparison, value })
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMON: &str = "2\ndenylist\nreject_force_umount  # comment this to allow umount -f;  not recommended\n[all]\n\
                          kexec_load errno 1\nopen_by_handle_at errno 1\n";

    #[test]
    fn the_policy_that_lxc_ships_is_understood() {
        let policy = Policy::parse(COMMON).unwrap();
        assert_eq!((policy.default, policy.rules.len()), (Action::Allow, 3));
        assert_eq!(policy.rules[0], force_umount());
        assert_eq!((policy.rules[1].call.as_str(), policy.rules[1].action), ("kexec_load", Action::Errno(1)));
    }

    #[test]
    fn lists_have_their_usual_actions_and_take_others() {
        let table = [
            ("2\nallowlist\nread\n", Action::Kill, Action::Allow),
            ("2\ndenylist\nread\n", Action::Allow, Action::Kill),
            ("2\nallowlist errno 38\nread trap\n", Action::Errno(38), Action::Trap),
            ("2\nblacklist allow\nread notify\n", Action::Allow, Action::Notify),
            ("1\nallowlist\n0\n", Action::Kill, Action::Allow),
        ];
        for (text, default, action) in table {
            let policy = Policy::parse(text).unwrap();
            assert_eq!((policy.default, policy.rules[0].action), (default, action), "{text}");
        }
    }

    #[test]
    fn sections_and_conditions_are_read() {
        let text = "2\ndenylist\n[x86_64]\nsocket errno 97 [0,0x26,SCMP_CMP_MASKED_EQ,0xffffffff]\n[mips]\nread kill\n\
                    [arm64]\nioctl errno 1 [1,21522,==] [2,5,>]\n";
        let policy = Policy::parse(text).unwrap();
        let [socket, ioctl] = &policy.rules[..] else { panic!("{:?}", policy.rules) };
        assert_eq!(socket.reach, Reach::Only(Architecture::X86_64));
        assert_eq!(socket.conditions[0].comparison, Comparison::EqualIn(0xffff_ffff));
        assert_eq!((ioctl.reach, ioctl.conditions.len()), (Reach::Only(Architecture::Arm64), 2));
    }

    #[test]
    fn mistakes_are_told_with_their_place() {
        let table = [
            ("", "1:1: the policy is empty"),
            ("3\ndenylist\n", "1:1: `3` is no version"),
            ("2\nsomelist\n", "2:1: `somelist` is neither"),
            ("2\ndenylist\n  no_such_call errno 1\n", "3:3: there is no system call `no_such_call`"),
            ("2\ndenylist\n[vax]\n", "3:2: `vax` is no architecture"),
            ("2\ndenylist\nread stop\n", "3:6: `stop` is no action"),
            ("2\ndenylist\nread errno\n", "3:6: `errno` needs its number"),
            ("2\ndenylist\nread kill now\n", "3:11: `now` is too much"),
            ("2\ndenylist\nread kill [7,1,==]\n", "3:12: `[7,1,==]`: the index is 0 to 5"),
            ("2\ndenylist\nread kill [1,1,=]\n", "the operator is one of"),
            ("1\ndenylist\n1\n", "2:1: version 1 has only"),
        ];
        for (text, expected) in table {
            let error = Policy::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_brings_it_down(text in "(2\n)?(deny|allow)?list?\n?[\\PC\n]{0,200}") {
            if let Err(error) = Policy::parse(&text) {
                proptest::prop_assert!(error.line >= 1 && error.column >= 1);
            }
        }
    }
}
