//! A lane of a [`Survey`]: compares files with the source's and writes nothing.

use std::collections::HashMap;

use standin_common::message::{Differing, FileEnd, LaneDown, LaneUp, Position, RootKind};
use standin_common::tree::{
    Fold, GROUP_LEN, GroupFold, ShortValue, Value, group_count, group_len, group_value, leaf_values, short,
};

use super::lane::is_same;
use super::receive::{ReceiveError, failed};
use super::survey::Survey;
use super::values::{Kept, Values};
use crate::mirror::SMALL_LEN;
use crate::volume::{Place, Volume, VolumeFile};

/// The most groups that a source may announce ahead of what it has sent, or at once, which bounds memory.
pub(super) const MOST_PENDING: usize = 32 * 1024;

/// Compares group `index` of a file of `size` bytes on the source with the bytes `here`, which are fewer where the file ends here.
/// Returns its value if it is the same, else the values of the leaves that are here.
pub(super) fn compare_group(size: u64, index: u64, here: &[u8], theirs: &ShortValue) -> Result<Value, Vec<Value>> {
    let len = group_len(size, index);
    let data = &here[..len.min(here.len())];
    let value = (!data.is_empty() && data.len() == len).then(|| group_value(size, index, data));
    value.filter(|value| short(value) == *theirs).ok_or_else(|| leaf_values(index, data))
}

/// The value of a group that was compared, of a file of more than one.
fn value_of(compared: &Result<Value, Vec<Value>>) -> Option<Value> {
    match compared {
        Ok(value) => Some(*value),
        Err(leaves) => leaves.iter().copied().collect::<Fold>().into_value(),
    }
}

/// A file that is being compared.
struct Comparing<F> {
    at: Position,
    file: F,
    /// Its size on the source.
    size: u64,
    size_here: u64,
    /// The next group that the source announces.
    next: u64,
    /// The values of all groups so far, while all are the same.
    same: Option<GroupFold>,
    /// What is kept of it, which is checked by the way and spares no reading.
    kept: Option<Kept>,
}

/// The standby's side of one lane.
pub struct CompareLane<'s, 'a, V: Volume> {
    survey: &'s Survey<'a, V>,
    values: Option<&'s Values>,
    files: HashMap<u64, Comparing<V::File>>,
    group: Vec<u8>,
}

impl<'s, 'a, V: Volume> CompareLane<'s, 'a, V> {
    /// A lane of a survey.
    pub fn new(survey: &'s Survey<'a, V>) -> Self {
        Self { survey, values: None, files: HashMap::new(), group: vec![0; GROUP_LEN] }
    }

    /// The same, and checks these values of the replica against what it reads.
    #[must_use]
    pub fn checking(self, values: &'s Values) -> Self {
        Self { values: Some(values), ..self }
    }

    /// Takes one message with its payload, of which there should be none; returns the answer, if it has one.
    pub fn take(&mut self, message: LaneDown, _payload: &[u8]) -> Result<Option<LaneUp>, ReceiveError> {
        match message {
            LaneDown::Check { file, end } => self.check(file, &end).map(Some),
            LaneDown::Begin { file, size } => self.begin(file, size).map(Some),
            LaneDown::Groups { file, values } => self.groups(file, &values).map(Some),
            LaneDown::End { file, end } => self.finish(file, &end).map(Some),
            LaneDown::Gone { file, .. } => {
                self.files.remove(&file);
                self.survey.differs();
                self.survey.done(file);
                Ok(None)
            }
            LaneDown::Small { .. } | LaneDown::Data { .. } | LaneDown::Hole { .. } | LaneDown::Leaves { .. } => {
                Err(ReceiveError::Protocol("it sent data where nothing is written"))
            }
        }
    }

    fn check(&mut self, file: u64, end: &FileEnd) -> Result<LaneUp, ReceiveError> {
        if end.size > SMALL_LEN {
            return Err(ReceiveError::Protocol("it asked for a look at a file that is not small"));
        }
        let at = self.survey.wanted(file)?;
        let opened = self.survey.volume(at.root)?.open(&Place::Tree(&at.path), false).map_err(failed("opening", &at.path))?;
        // What cannot be read is looked at more closely, as something that differs.
        if !is_same(&opened, end, &mut self.group).unwrap_or(false) {
            return Ok(LaneUp::Again { file });
        }
        self.survey.done(file);
        Ok(LaneUp::Done { file })
    }

    fn begin(&mut self, file: u64, size: u64) -> Result<LaneUp, ReceiveError> {
        let (at, opened) = match self.files.remove(&file) {
            Some(comparing) => (comparing.at, comparing.file),
            None => {
                let at = self.survey.wanted(file)?;
                let volume = self.survey.volume(at.root)?;
                let opened = volume.open(&Place::Tree(&at.path), false).map_err(failed("opening", &at.path))?;
                (at, opened)
            }
        };
        let here = opened.object().map_err(failed("reading its size", &at.path))?;
        let capacity = here.size;
        // What a larger device has beyond the source's end is not the replica's.
        let device = self.survey.volume(at.root)?.kind() == RootKind::Device;
        let size_here = if device { capacity.min(size) } else { capacity };
        let kept = self.values.filter(|_| !device).and_then(|values| values.kept(&at, &here.stamp));
        self.files.insert(file, Comparing { at, file: opened, size, size_here, next: 0, same: Some(GroupFold::new(size)), kept });
        Ok(LaneUp::Here { file, size: size_here })
    }

    fn comparing(&mut self, file: u64) -> Result<&mut Comparing<V::File>, ReceiveError> {
        self.files.get_mut(&file).ok_or(ReceiveError::Protocol("it sent values of a file that had not begun"))
    }

    fn groups(&mut self, file: u64, values: &[ShortValue]) -> Result<LaneUp, ReceiveError> {
        let mut buffer = std::mem::take(&mut self.group);
        let kept_by = self.values;
        let compared = self.comparing(file).and_then(|comparing| comparing.groups(values, &mut buffer, kept_by));
        self.group = buffer;
        compared.map(|differing| LaneUp::Compared { file, groups: values.len() as u32, differing })
    }

    fn finish(&mut self, file: u64, end: &FileEnd) -> Result<LaneUp, ReceiveError> {
        let comparing = self.comparing(file)?;
        let complete = comparing.next == group_count(comparing.size) && comparing.size == end.size;
        // Equality found by half values is proven by the root; what differs needs no proof.
        let same = comparing.same.take();
        let differs = same.is_none() || comparing.size_here != comparing.size;
        let proven = same.is_none_or(|fold| fold.finish() == Some(end.root));
        if !(complete && proven) {
            return Ok(LaneUp::Again { file });
        }
        if differs {
            self.survey.differs();
        }
        self.files.remove(&file);
        self.survey.done(file);
        Ok(LaneUp::Done { file })
    }
}

impl<F: VolumeFile> Comparing<F> {
    fn groups(
        &mut self,
        values: &[ShortValue],
        buffer: &mut [u8],
        kept_by: Option<&Values>,
    ) -> Result<Vec<Differing>, ReceiveError> {
        if values.len() > MOST_PENDING || values.len() as u64 > group_count(self.size) - self.next {
            return Err(ReceiveError::Protocol("it sent values beyond the file's end or too many at once"));
        }
        let mut differing = Vec::new();
        let kept = self.kept.as_ref().map(|kept| kept.values(self.size, self.next, values.len())).unwrap_or_default();
        for (theirs, kept) in values.iter().zip(kept.into_iter().chain(std::iter::repeat(None))) {
            let group = self.next;
            self.next += 1;
            let read = self.file.read_at(buffer, group * GROUP_LEN as u64).unwrap_or_else(|error| {
                // A replica that cannot be read is what a verification looks for: it differs, and the other files are compared, too.
                tracing::warn!(root = self.at.root.0, path = %self.at.path, group, %error, "the replica cannot be read");
                0
            });
            let compared = compare_group(self.size, group, &buffer[..read], theirs);
            if let (Some(kept), Some(kept_by)) = (kept, kept_by)
                && value_of(&compared) != Some(kept)
            {
                kept_by.doubt(&self.at, "a comparison that reads found that what is kept of a file is not what the file holds");
                self.kept = None;
            }
            match compared {
                Ok(value) => {
                    if let Some(fold) = &mut self.same {
                        fold.push(value);
                    }
                }
                Err(leaves) => {
                    self.same = None;
                    differing.push(Differing { group, leaves: leaves.iter().map(short).collect() });
                }
            }
        }
        Ok(differing)
    }
}
