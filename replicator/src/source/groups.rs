//! Reading the groups of a file, and those of a large one with a second thread.
//!
//! One core reads and hashes less than a page cache or a good disk gives. A large file is cut into stretches, and whoever is free takes the
//! next one: the helper, unless it is too far ahead, and the lane itself as long as the stretch that it needs is still under way. So the lane
//! gets the values in their order, never waits while there is something to do, and loses nothing where the helper gets no processor.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use standin_common::tree::{GROUP_LEN, Value, group_count, group_value};

use super::whole::PIECE_LEN;
use crate::volume::VolumeFile;

/// Groups of a stretch.
const STRETCH: u64 = (PIECE_LEN / GROUP_LEN) as u64;
/// Stretches that are read and not asked for, at most.
const MOST_AHEAD: usize = 32;
/// From this size on a file is worth a thread, in bytes.
const LARGE_LEN: u64 = 64 << 20;

/// Reads groups; a file that became shorter reads as zeros there, and will be read again.
pub(super) fn read_groups<'b>(
    file: &impl VolumeFile,
    size: u64,
    first: u64,
    count: u64,
    buffer: &'b mut [u8],
) -> io::Result<&'b [u8]> {
    let start = first * GROUP_LEN as u64;
    let len = (size - start).min(count * GROUP_LEN as u64) as usize;
    let read = file.read_at(&mut buffer[..len], start)?;
    buffer[read..len].fill(0);
    Ok(&buffer[..len])
}

/// The values of up to `count` groups from `first` on, no more than fit into `buffer`.
pub(super) fn read_values(
    file: &impl VolumeFile,
    size: u64,
    first: u64,
    count: u64,
    buffer: &mut [u8],
) -> io::Result<Vec<Value>> {
    let data = read_groups(file, size, first, count.min(STRETCH), buffer)?;
    Ok((first..).zip(data.chunks(GROUP_LEN)).map(|(group, data)| group_value(size, group, data)).collect())
}

/// The values of a large file's groups, read ahead. Dropping it ends the helper.
pub(super) struct Ahead {
    shared: Arc<Shared>,
    helper: Option<JoinHandle<()>>,
}

/// Reads the values of the stretch that begins with a group, with a buffer of [`PIECE_LEN`] bytes.
type Read = dyn Fn(u64, &mut [u8]) -> io::Result<Vec<Value>> + Send + Sync;

struct Shared {
    read: Box<Read>,
    /// Groups of the file.
    groups: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    /// The first group of the stretch that the lane needs next.
    first: u64,
    /// What came of the stretches from there on that somebody took; `None` while they are read.
    taken: VecDeque<Option<io::Result<Vec<Value>>>>,
    ended: bool,
}

/// A stretch that somebody reads. If it is dropped without having been read, its reading failed.
struct Stretch<'s> {
    shared: &'s Shared,
    first: u64,
    values: Option<io::Result<Vec<Value>>>,
}

impl Ahead {
    /// Whether so many bytes are worth it.
    pub(super) fn is_for(len: u64) -> bool {
        len >= LARGE_LEN && thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
    }

    /// Reads a file of `size` bytes from a group on. Without a thread to be had the lane reads it all.
    pub(super) fn new<F: VolumeFile>(file: Arc<F>, size: u64, first: u64) -> Self {
        let read = move |first, buffer: &mut [u8]| read_values(&*file, size, first, STRETCH, buffer);
        Self::with(Box::new(read), group_count(size), first)
    }

    fn with(read: Box<Read>, groups: u64, first: u64) -> Self {
        let state = Mutex::new(State { first, taken: VecDeque::new(), ended: false });
        let shared = Arc::new(Shared { read, groups, state, changed: Condvar::new() });
        let helps = shared.clone();
        let helper = thread::Builder::new().name("read-ahead".to_owned()).spawn(move || helps.help()).ok();
        Self { shared, helper }
    }

    /// The values of the next groups, at least one while there are any left.
    pub(super) fn next(&mut self, buffer: &mut [u8]) -> io::Result<Vec<Value>> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        loop {
            if let Some(values) = state.taken.front_mut().and_then(Option::take) {
                state.taken.pop_front();
                state.first += STRETCH;
                shared.changed.notify_one();
                return values;
            }
            if let Some(stretch) = shared.take(&mut state) {
                drop(state);
                stretch.read(buffer);
                state = shared.lock();
            } else if state.taken.is_empty() {
                return Ok(Vec::new());
            } else {
                state = shared.wait(state);
            }
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_one();
        if let Some(helper) = self.helper.take() {
            // It took care of a panic of its own: the stretch counts as failed.
            drop(helper.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next stretch that nobody has, if there is one and it is not too far ahead.
    fn take(&self, state: &mut State) -> Option<Stretch<'_>> {
        let first = state.first + state.taken.len() as u64 * STRETCH;
        if first >= self.groups || state.taken.len() >= MOST_AHEAD {
            return None;
        }
        state.taken.push_back(None);
        Some(Stretch { shared: self, first, values: None })
    }

    fn help(&self) {
        let mut buffer = vec![0; PIECE_LEN];
        let mut state = self.lock();
        while !state.ended {
            if let Some(stretch) = self.take(&mut state) {
                drop(state);
                stretch.read(&mut buffer);
                state = self.lock();
            } else {
                state = self.wait(state);
            }
        }
    }
}

impl Stretch<'_> {
    fn read(mut self, buffer: &mut [u8]) {
        self.values = Some((self.shared.read)(self.first, buffer));
    }
}

impl Drop for Stretch<'_> {
    fn drop(&mut self) {
        let values = self.values.take().unwrap_or_else(|| Err(io::Error::other("the thread that read it failed")));
        let mut state = self.shared.lock();
        let index = (self.first - state.first) / STRETCH;
        if let Some(place) = state.taken.get_mut(index as usize) {
            *place = Some(values);
        }
        drop(state);
        self.shared.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Stretches, of which the last is not whole.
    const GROUPS: u64 = 200 * STRETCH + 3;

    /// A value that tells its group.
    fn value_of(group: u64) -> Value {
        let mut value = Value::default();
        value[..8].copy_from_slice(&group.to_le_bytes());
        value
    }

    fn values_of(first: u64) -> Vec<Value> {
        (first..GROUPS.min(first + STRETCH)).map(value_of).collect()
    }

    /// All values up to the end or the first error, and which.
    fn all_of(ahead: &mut Ahead) -> (Vec<Value>, Option<io::Error>) {
        let mut all = Vec::new();
        loop {
            match ahead.next(&mut []) {
                Ok(values) if values.is_empty() => return (all, None),
                Ok(values) => all.extend(values),
                Err(error) => return (all, Some(error)),
            }
        }
    }

    #[test]
    fn the_values_come_in_their_order_from_the_group_asked_for_to_the_last() {
        for first in [0, 5, STRETCH, GROUPS - 1] {
            let mut ahead = Ahead::with(Box::new(|first, _| Ok(values_of(first))), GROUPS, first);
            let (values, error) = all_of(&mut ahead);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(values, (first..GROUPS).map(value_of).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_stretch_that_cannot_be_read_is_an_error_at_its_place() {
        let bad = 50 * STRETCH;
        let read =
            move |first, _: &mut [u8]| if first == bad { Err(io::Error::other("a bad block")) } else { Ok(values_of(first)) };
        let (values, error) = all_of(&mut Ahead::with(Box::new(read), GROUPS, 0));
        assert_eq!(values, (0..bad).map(value_of).collect::<Vec<_>>());
        assert_eq!(error.unwrap().to_string(), "a bad block");
    }

    #[test]
    fn a_helper_that_panics_gives_an_error_and_no_one_waits_for_it() {
        let has_one = OnceLock::new();
        let read = move |first, _: &mut [u8]| {
            if thread::current().name() == Some("read-ahead") {
                has_one.set(()).unwrap();
                panic!("as the test asks");
            }
            has_one.wait();
            Ok(values_of(first))
        };
        let (_, error) = all_of(&mut Ahead::with(Box::new(read), GROUPS, 0));
        let error = error.expect("nothing failed");
        assert!(error.to_string().contains("failed"), "{error}");
    }

    #[test]
    fn the_helper_goes_no_further_ahead_than_it_may_and_ends_with_its_file() {
        let read = Arc::new(AtomicU64::new(0));
        let counted = read.clone();
        let mut ahead = Ahead::with(
            Box::new(move |first, _| {
                counted.fetch_add(1, Ordering::SeqCst);
                Ok(values_of(first))
            }),
            GROUPS,
            0,
        );
        let mut asked = 0;
        while asked < 20 {
            asked += 1;
            assert!(!ahead.next(&mut []).unwrap().is_empty());
            assert!(read.load(Ordering::SeqCst) <= asked + MOST_AHEAD as u64 + 1);
        }
        let shared = Arc::downgrade(&ahead.shared);
        drop(ahead);
        assert!(shared.upgrade().is_none(), "the helper still has the file");
    }
}
