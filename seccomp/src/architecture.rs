//! Whose numbers a system call has.

use serde::{Deserialize, Serialize};

/// A set of numbers that a kernel serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Architecture {
    /// 64-bit Intel and AMD.
    X86_64,
    /// Programs of 64 bits with pointers of 32, on the same.
    X32,
    /// 32-bit Intel and AMD.
    X86,
    /// 64-bit ARM.
    Arm64,
    /// 32-bit ARM.
    Arm,
    /// 64-bit PowerPC, little-endian.
    Ppc64le,
    /// 64-bit RISC-V.
    RiscV64,
    /// IBM Z.
    S390x,
    /// LoongArch.
    LoongArch64,
}

/// Set in the numbers of [`Architecture::X32`], which otherwise shows itself as its big sister.
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// Words of LXC's for architectures that no machine of ours runs: sections for them are read and left out.
const FOREIGN: [&str; 10] =
    ["mips", "mips64", "mips64n32", "mipsel", "mipsel64", "mipsel64n32", "ppc", "ppc64", "s390", "x32"];

impl Architecture {
    const WORDS: [(Self, &'static [&'static str]); 9] = [
        (Self::X86_64, &["x86_64", "amd64"]),
        (Self::X32, &["x32"]),
        (Self::X86, &["x86", "i386"]),
        (Self::Arm64, &["arm64", "aarch64"]),
        (Self::Arm, &["arm"]),
        (Self::Ppc64le, &["ppc64le"]),
        (Self::RiscV64, &["riscv64"]),
        (Self::S390x, &["s390x"]),
        (Self::LoongArch64, &["loongarch64"]),
    ];

    /// Returns the architectures whose programs a kernel of this machine serves, its own first.
    #[must_use]
    pub fn of_this_machine() -> &'static [Self] {
        match std::env::consts::ARCH {
            "x86_64" => &[Self::X86_64, Self::X86, Self::X32],
            "aarch64" => &[Self::Arm64, Self::Arm],
            "powerpc64" => &[Self::Ppc64le],
            "riscv64" => &[Self::RiscV64],
            "s390x" => &[Self::S390x],
            "loongarch64" => &[Self::LoongArch64],
            _ => &[],
        }
    }

    /// Returns the architecture of a word in LXC's policies.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, words)| words.contains(&word)).map(|(architecture, _)| *architecture)
    }

    /// Returns whether a word is one of LXC's for an architecture that is not served.
    pub(crate) fn is_foreign(word: &str) -> bool {
        FOREIGN.contains(&word)
    }

    /// Returns the number that the kernel shows a filter for it (`AUDIT_ARCH_*` of `linux/audit.h`).
    #[must_use]
    pub fn audit_number(self) -> u32 {
        const LITTLE: u32 = 0x4000_0000;
        const BITS_64: u32 = 0x8000_0000;
        match self {
            Self::X86_64 | Self::X32 => 62 | BITS_64 | LITTLE,
            Self::X86 => 3 | LITTLE,
            Self::Arm64 => 183 | BITS_64 | LITTLE,
            Self::Arm => 40 | LITTLE,
            Self::Ppc64le => 21 | BITS_64 | LITTLE,
            Self::RiscV64 => 243 | BITS_64 | LITTLE,
            Self::S390x => 22 | BITS_64,
            Self::LoongArch64 => 258 | BITS_64 | LITTLE,
        }
    }

    /// Returns the number of a system call; `None` when it has none of this name.
    #[must_use]
    pub fn number(self, name: &str) -> Option<u32> {
        let id = match self {
            Self::X86_64 | Self::X32 => name.parse::<syscalls::x86_64::Sysno>().map(|call| call.id()),
            Self::X86 => name.parse::<syscalls::x86::Sysno>().map(|call| call.id()),
            Self::Arm64 => name.parse::<syscalls::aarch64::Sysno>().map(|call| call.id()),
            Self::Arm => name.parse::<syscalls::arm::Sysno>().map(|call| call.id()),
            Self::Ppc64le => name.parse::<syscalls::powerpc64::Sysno>().map(|call| call.id()),
            Self::RiscV64 => name.parse::<syscalls::riscv64::Sysno>().map(|call| call.id()),
            Self::S390x => name.parse::<syscalls::s390x::Sysno>().map(|call| call.id()),
            Self::LoongArch64 => name.parse::<syscalls::loongarch64::Sysno>().map(|call| call.id()),
        };
        let number = id.ok().and_then(|id| u32::try_from(id).ok())?;
        Some(if self == Self::X32 { number | X32_BIT } else { number })
    }

    /// Returns the highest number that we know a name for.
    pub(crate) fn last(self) -> u32 {
        let id = match self {
            Self::X86_64 | Self::X32 => syscalls::x86_64::Sysno::last().id(),
            Self::X86 => syscalls::x86::Sysno::last().id(),
            Self::Arm64 => syscalls::aarch64::Sysno::last().id(),
            // It has calls of its own far above the others (`__ARM_NR_set_tls`), without which no thread starts.
            Self::Arm => 0xf_ffff,
            Self::Ppc64le => syscalls::powerpc64::Sysno::last().id(),
            Self::RiscV64 => syscalls::riscv64::Sysno::last().id(),
            Self::S390x => syscalls::s390x::Sysno::last().id(),
            Self::LoongArch64 => syscalls::loongarch64::Sysno::last().id(),
        };
        u32::try_from(id).unwrap_or(0)
    }

    /// Returns whether any architecture has a system call of this name.
    pub(crate) fn any_has(name: &str) -> bool {
        Self::WORDS.iter().any(|(architecture, _)| architecture.number(name).is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        let table = [
            (Architecture::X86_64, "kexec_load", Some(246)),
            (Architecture::X86, "kexec_load", Some(283)),
            (Architecture::Arm64, "kexec_load", Some(104)),
            (Architecture::X32, "read", Some(X32_BIT)),
            (Architecture::Arm64, "open", None),
            (Architecture::X86_64, "socketcall", None),
            (Architecture::X86, "socketcall", Some(102)),
        ];
        for (architecture, name, expected) in table {
            assert_eq!(architecture.number(name), expected, "{architecture:?} {name}");
        }
    }

    #[test]
    fn audit_numbers_are_those_of_the_kernel() {
        assert_eq!(Architecture::X86_64.audit_number(), 0xc000_003e);
        assert_eq!(Architecture::X86.audit_number(), 0x4000_0003);
        assert_eq!(Architecture::Arm64.audit_number(), 0xc000_00b7);
        assert_eq!(Architecture::S390x.audit_number(), 0x8000_0016);
    }
}
