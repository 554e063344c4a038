//! Objects: made, referred to, pinned by messages, changed, and destroyed with the last reference.

use super::stage::{Counts, once};
use super::{Row, Scene, Stage};
use offspring::testing::Arena;
use offspring::testing::object::{TestBox, give_back, shared_static};

const SMALL: usize = 100;
const LARGE: usize = 100_000;

/// A box that the victim, the other and the last survivor refer to.
fn known_to_all(stage: &Stage) -> [TestBox; 3] {
    let it = TestBox::new_in(stage.last, 0).unwrap();
    let open = |arena: Arena| TestBox::open(arena, it.id()).unwrap();
    [open(stage.victim), open(stage.other), it]
}

/// What the last survivor sees of a box to which nobody else can have a reference any more.
fn seen(it: TestBox) -> impl Fn() -> String + 'static {
    move || {
        let references: Vec<u32> = (0..4).map(|role| it.references(role)).collect();
        let (changes, twin) = it.touched();
        assert_eq!(changes, u64::from(twin), "one word of two was stored");
        // Nothing is left locked, and what is in it can be had.
        it.touch().unwrap();
        let full = it.take().unwrap();
        it.put_block(SMALL).unwrap();
        assert!(it.take().unwrap());
        format!("references {references:?}, {changes} changes, {}", if full { "full" } else { "empty" })
    }
}

/// The statics, each of which is made now if it was not before; what is found is whole, and found again.
fn statics(last: Arena) -> String {
    let found: Vec<String> = ["first", "second", "third"]
        .into_iter()
        .map(|name| {
            let found = shared_static(last, name, "new").unwrap();
            assert_eq!(shared_static(last, name, "newer").unwrap(), found);
            let whole = ["new", "mine", "theirs"].contains(&&*found) || found == "x".repeat(20);
            assert!(whole, "{found}");
            found.chars().take(6).collect()
        })
        .collect();
    found.join(" ")
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "object: create",
        covers: &["handle::create", "refs::make_object"],
        mutants: &[203],
        scene: |stage| {
            let (victim, other) = (stage.victim, stage.other);
            Scene::of(move || TestBox::new_in(victim, 0).unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || TestBox::new_in(other, 0).unwrap())
        },
    },
    Row {
        name: "object: create a large one",
        covers: &["handle::create", "refs::make_object"],
        mutants: &[203],
        scene: |stage| {
            let victim = stage.victim;
            Scene::of(move || TestBox::new_in(victim, LARGE).unwrap()).payloads().counts(Counts::Blocks)
        },
    },
    Row {
        name: "object: refer to one in another role, while somebody else does",
        covers: &["handle::with_role", "refs::refer"],
        mutants: &[201, 202],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            Scene::of(move || mine.with_role(1).unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || theirs.with_role(1).unwrap())
                .view(seen(it))
        },
    },
    Row {
        name: "object: decode a handle, while the last reference goes",
        covers: &["handle::open", "refs::refer", "refs::unrefer"],
        mutants: &[],
        scene: |stage| {
            let (victim, theirs) = (stage.victim, TestBox::new_in(stage.other, 0).unwrap());
            let id = theirs.id();
            let theirs = once(theirs);
            Scene::of(move || TestBox::open(victim, id)).payloads().counts(Counts::Blocks).rival(move || drop(theirs()))
        },
    },
    Row {
        name: "object: decode a handle to one that is gone",
        covers: &["handle::open"],
        mutants: &[],
        scene: |stage| {
            let victim = stage.victim;
            let id = TestBox::new_in(stage.other, 0).unwrap().id();
            Scene::of(move || assert!(TestBox::open(victim, id).is_err())).payloads().counts(Counts::Blocks)
        },
    },
    Row {
        name: "object: drop a reference, there are others",
        covers: &["refs::unrefer"],
        mutants: &[201, 202],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            let (mine, theirs) = (once(mine), once(theirs));
            Scene::of(move || drop(mine()))
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || drop(theirs()))
                .view(seen(it))
        },
    },
    Row {
        name: "object: drop the last reference in a role",
        covers: &["refs::unrefer"],
        mutants: &[],
        scene: |stage| {
            let [mine, _theirs, it] = known_to_all(stage);
            let sender = mine.with_role(1).unwrap();
            std::mem::forget(mine);
            let (sender, before) = (once(sender), it.wakes());
            let watch = TestBox::open(stage.root, it.id()).unwrap();
            let seen = seen(it);
            Scene::of(move || drop(sender())).payloads().counts(Counts::Blocks).view(move || {
                assert!(watch.wakes() > before, "nobody is told that there are no senders");
                seen()
            })
        },
    },
    Row {
        name: "object: drop one of the last two references",
        covers: &["refs::unrefer", "refs::reap"],
        mutants: &[],
        scene: |stage| {
            let mine = TestBox::new_in(stage.victim, 0).unwrap();
            mine.put_block(SMALL).unwrap();
            let theirs = once(TestBox::open(stage.other, mine.id()).unwrap());
            let mine = once(mine);
            Scene::of(move || drop(mine())).payloads().counts(Counts::Blocks).rival(move || drop(theirs()))
        },
    },
    Row {
        name: "object: drop the last reference to a full one",
        covers: &["refs::unrefer", "refs::reap", "refs::free_owned", "lock::free", "lock::destroy"],
        mutants: &[201],
        scene: |stage| {
            let it = TestBox::new_in(stage.victim, 0).unwrap();
            it.put_block(LARGE).unwrap();
            let it = once(it);
            Scene::of(move || drop(it())).payloads().counts(Counts::Blocks)
        },
    },
    Row {
        name: "object: drop the last reference to one that another made and filled",
        covers: &["refs::unrefer", "refs::free_owned"],
        mutants: &[],
        scene: |stage| {
            let theirs = TestBox::new_in(stage.other, 0).unwrap();
            theirs.put_block(SMALL).unwrap();
            let mine = once(TestBox::open(stage.victim, theirs.id()).unwrap());
            drop(theirs);
            Scene::of(move || drop(mine())).payloads().counts(Counts::Blocks)
        },
    },
    Row {
        name: "object: drop a chain of two",
        covers: &["refs::reap"],
        mutants: &[],
        scene: |stage| {
            let mut chain = TestBox::new_in(stage.victim, 0).unwrap();
            let next = TestBox::new_in(stage.victim, 0).unwrap();
            next.put(&chain).unwrap();
            chain = next;
            let chain = once(chain);
            Scene::of(move || drop(chain())).payloads().counts(Counts::Blocks)
        },
    },
    Row {
        name: "object: pin to a block of another, while somebody else does",
        covers: &["refs::add", "spill::pin"],
        mutants: &[201, 202],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            let parent = stage.last.alloc(SMALL).unwrap();
            let id = parent.id();
            let (parent, seen) = (once(parent), seen(it));
            Scene::of(move || mine.pin_to(id, false).unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || theirs.pin_to(id, false).unwrap())
                // A block for references may be there without any.
                .view(move || {
                    let seen = seen();
                    drop(parent());
                    seen
                })
        },
    },
    Row {
        name: "object: write a message with a handle, and give it to an object",
        covers: &["refs::add", "spill::pin", "lock::give"],
        mutants: &[205, 206],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            let inner = TestBox::new_in(stage.victim, 0).unwrap();
            Scene::of(move || mine.put(&inner).unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || theirs.put_block(SMALL).unwrap())
                .view(seen(it))
        },
    },
    Row {
        name: "object: free a block with the last reference to a full one",
        covers: &["refs::release_pins", "refs::reap"],
        mutants: &[204],
        scene: |stage| {
            let inner = TestBox::new_in(stage.victim, 0).unwrap();
            inner.put_block(SMALL).unwrap();
            let parent = stage.victim.alloc(SMALL).unwrap();
            inner.pin_to(parent.id(), false).unwrap();
            drop(inner);
            let parent = once(parent);
            Scene::of(move || drop(parent())).payloads().counts(Counts::Blocks)
        },
    },
    Row {
        name: "object: free a block with references, while somebody else does",
        covers: &["refs::release_pins"],
        mutants: &[204, 201],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            let (one, two) = (stage.victim.alloc(SMALL).unwrap(), stage.other.alloc(SMALL).unwrap());
            mine.pin_to(one.id(), false).unwrap();
            theirs.pin_to(two.id(), false).unwrap();
            let (one, two) = (once(one), once(two));
            std::mem::forget((mine, theirs));
            Scene::of(move || drop(one())).payloads().counts(Counts::Blocks).rival(move || drop(two())).view(seen(it))
        },
    },
    Row {
        name: "object: give back what a block of another was lent, while somebody else does, too",
        covers: &["refs::give_back"],
        mutants: &[201],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            let last = TestBox::new_in(stage.victim, 0).unwrap();
            let parent = stage.last.alloc(SMALL).unwrap();
            let id = parent.id();
            mine.pin_to(id, true).unwrap();
            last.put_block(SMALL).unwrap();
            last.pin_to(id, true).unwrap();
            drop(last);
            std::mem::forget((mine, theirs));
            let (victim, other, survivor) = (stage.victim, stage.other, stage.last);
            let (parent, seen) = (once(parent), seen(it));
            Scene::of(move || give_back(victim, id).unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || give_back(other, id).unwrap())
                // As the pool does, when a worker died that had done all.
                .view(move || {
                    give_back(survivor, id).unwrap();
                    let seen = seen();
                    drop(parent());
                    seen
                })
        },
    },
    Row {
        name: "object: give a small block to an empty one",
        covers: &["lock::give", "lock::swap"],
        mutants: &[205, 206],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            Scene::of(move || mine.put_block(SMALL).unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || theirs.put_block(SMALL).unwrap())
                .view(seen(it))
        },
    },
    Row {
        name: "object: swap a large block for a small one of another",
        covers: &["lock::swap"],
        mutants: &[205, 206],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            theirs.put_block(SMALL).unwrap();
            Scene::of(move || mine.put_block(LARGE).unwrap()).payloads().counts(Counts::Blocks).view(seen(it))
        },
    },
    Row {
        name: "object: take a block of another, while somebody else does",
        covers: &["lock::take"],
        mutants: &[205, 206],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            theirs.put_block(SMALL).unwrap();
            Scene::of(move || mine.take_block().unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || theirs.take_block().unwrap())
                .view(seen(it))
        },
    },
    Row {
        name: "object: take a large block and free it, while somebody puts another",
        covers: &["lock::take"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            theirs.put_block(LARGE).unwrap();
            Scene::of(move || mine.take().unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || theirs.put_block(LARGE).unwrap())
                .view(seen(it))
        },
    },
    Row {
        name: "object: store two words, while somebody else does",
        covers: &["lock::store", "lock::lock"],
        mutants: &[205, 206],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            Scene::of(move || mine.touch().unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || theirs.touch().unwrap())
                .view(seen(it))
        },
    },
    Row {
        name: "object: lock one whose holder is alive",
        covers: &["lock::lock"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            let theirs: &'static TestBox = Box::leak(Box::new(theirs));
            let seen = seen(it);
            Scene::of(move || mine.touch().unwrap())
                .payloads()
                .counts(Counts::Nothing)
                .holder(move || theirs.lock().unwrap())
                // Who else has died by then differs, and with them their references.
                .view(move || seen().split_once("], ").map(|(_, rest)| rest.to_owned()).unwrap_or_default())
        },
    },
    Row {
        name: "object: watch and watch no more, while somebody else does",
        covers: &["watch::new", "watch::drop"],
        mutants: &[],
        scene: |stage| {
            let [mine, theirs, it] = known_to_all(stage);
            let look = it.clone();
            let seen = seen(it);
            Scene::of(move || drop(mine.watch().unwrap()))
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || drop(theirs.watch().unwrap()))
                .view(move || {
                    assert_eq!(look.watchers(), 0, "the dead are rung for ever");
                    seen()
                })
        },
    },
    Row {
        name: "object: die of a fault with references",
        covers: &["audit::audit"],
        mutants: &[],
        scene: |stage| {
            let [mine, _theirs, it] = known_to_all(stage);
            let only = TestBox::new_in(stage.victim, 0).unwrap();
            only.put_block(SMALL).unwrap();
            std::mem::forget(only);
            Scene::of(move || mine.put_block(SMALL).unwrap())
                .payloads()
                .counts(Counts::Nothing)
                .quarantine()
                .view(seen(it))
        },
    },
    Row {
        name: "static: make the first one of a family, while somebody else does",
        covers: &["directory::find_or_make", "refs::make_root", "granule::root"],
        mutants: &[],
        scene: |stage| {
            let (victim, other, last) = (stage.victim, stage.other, stage.last);
            let long = "x".repeat(20);
            Scene::of(move || shared_static(victim, "first", &long).unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || shared_static(other, "first", "theirs").unwrap())
                .view(move || statics(last))
        },
    },
    Row {
        name: "static: make another one, while somebody else makes a third",
        covers: &["directory::find_or_make"],
        mutants: &[205],
        scene: |stage| {
            let (victim, other, last) = (stage.victim, stage.other, stage.last);
            shared_static(stage.root, "first", "mine").unwrap();
            Scene::of(move || shared_static(victim, "second", "mine").unwrap())
                .payloads()
                .counts(Counts::Blocks)
                .rival(move || shared_static(other, "third", "theirs").unwrap())
                .view(move || statics(last))
        },
    },
];
