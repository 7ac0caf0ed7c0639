//! Writes records, or passes over those that the receiver has, and then tells it where it stands.

use std::ffi::CString;
use std::io::Write;

use super::Position;
use super::record::{Opening, Record};
use crate::error::{Result, TreeError};

/// The writing end of a stream.
pub(super) struct Emitter<'a> {
    output: &'a mut dyn Write,
    position: Position,
    from: Position,
    /// The directories that the receiver is in.
    entered: Vec<CString>,
    /// The file that it has open.
    open: Option<CString>,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(output: &'a mut dyn Write, from: Position) -> Self {
        Self { output, position: Position::default(), from, entered: Vec::new(), open: None }
    }

    /// Writes one record, unless the receiver has it.
    pub(super) fn emit(&mut self, record: &Record) -> Result<()> {
        self.follow(record);
        let bytes = record.encode();
        self.position.advance(&bytes);
        if self.position.records > self.from.records {
            return self.write(&bytes);
        }
        if self.position.records == self.from.records {
            if self.position != self.from {
                return Err(TreeError::NotTheSame);
            }
            return self.tell_place();
        }
        Ok(())
    }

    /// Fails when the stream ended before the place where the receiver stopped.
    pub(super) fn finish(self) -> Result<Position> {
        if self.position.records < self.from.records {
            return Err(TreeError::NotTheSame);
        }
        self.output.flush().map_err(TreeError::Stream)?;
        Ok(self.position)
    }

    fn follow(&mut self, record: &Record) {
        match record {
            Record::Enter(name) => self.entered.push(name.clone()),
            Record::Leave(_) => drop(self.entered.pop()),
            Record::File(name, _) => self.open = Some(name.clone()),
            Record::Close(..) => self.open = None,
            _ => {}
        }
    }

    fn tell_place(&mut self) -> Result<()> {
        for name in self.entered.clone() {
            self.write(&Record::Enter(name).encode_repeated())?;
        }
        if let Some(name) = self.open.clone() {
            self.write(&Record::File(name, Opening::Kept).encode_repeated())?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write_all(bytes).map_err(TreeError::Stream)
    }
}
