//! Work that goes on while a test does something terrible.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use events_schema::api::Page;
use events_schema::api::commands::NewCommand;
use events_schema::api::resources::KeyItem;
use events_schema::id::KeyId;
use tokio::task::JoinHandle;

use crate::stack::{Info, Session, Stack, chat};

/// The pause between two tries of a command that could not be given.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Commands and chats in the background.
pub(crate) struct Load {
    commands: Arc<AtomicU64>,
    chats: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
    commanding: JoinHandle<u64>,
    chatting: JoinHandle<Chats>,
}

/// What came of the chats.
#[derive(Debug, Default)]
pub(crate) struct Chats {
    /// The ids of the requests that were answered well.
    pub(crate) answered: BTreeSet<String>,
    /// What went wrong with the others.
    pub(crate) failed: Vec<String>,
}

// === impl Load ===

impl Load {
    /// Starts both.
    pub(crate) async fn start(stack: &Stack, session: &Session) -> Self {
        let page: Page<KeyItem> = session.get("/keys?limit=100").await;
        let key = page.items.first().expect("the example has keys").id;
        let commands = Arc::new(AtomicU64::new(0));
        let chats = Arc::new(AtomicU64::new(0));
        let over = Arc::new(AtomicBool::new(false));
        let commanding = give_commands(
            session.clone(),
            key,
            Arc::clone(&commands),
            Arc::clone(&over),
        );
        let chatting = keep_chatting(stack.info.clone(), Arc::clone(&chats), Arc::clone(&over));
        Self {
            commands,
            chats,
            over,
            commanding: tokio::spawn(commanding),
            chatting: tokio::spawn(chatting),
        }
    }

    /// How many commands and chats have succeeded so far.
    pub(crate) fn done(&self) -> (u64, u64) {
        (
            self.commands.load(Ordering::Relaxed),
            self.chats.load(Ordering::Relaxed),
        )
    }

    /// Ends both; returns the last position that a command was answered with, and the chats.
    pub(crate) async fn finish(self) -> (u64, Chats) {
        self.over.store(true, Ordering::Relaxed);
        let position = self.commanding.await.expect("the commands' task");
        (position, self.chatting.await.expect("the chats' task"))
    }
}

/// Relabels a key over and over. A command whose outcome is unknown is sent again under its id.
async fn give_commands(
    session: Session,
    key: KeyId,
    done: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
) -> u64 {
    let mut position = 0;
    let mut number: u64 = 0;
    while !over.load(Ordering::Relaxed) {
        number += 1;
        let id = random_id();
        let command = || NewCommand::RelabelKey {
            key,
            label: format!("label {number}"),
        };
        while !over.load(Ordering::Relaxed) {
            match session.try_command(&id, command()).await {
                Ok(answer) => {
                    assert!(answer.position > position, "positions go up");
                    position = answer.position;
                    done.fetch_add(1, Ordering::Relaxed);
                    break;
                }
                Err(why) => wait_after(&why).await,
            }
        }
    }
    position
}

/// What is refused is a mistake of this test; what failed may be tried again.
async fn wait_after(why: &str) {
    assert!(
        !why.starts_with("400") && !why.starts_with("409"),
        "refused: {why}"
    );
    tokio::time::sleep(TRY_AGAIN_AFTER).await;
}

fn random_id() -> String {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the system has random bytes");
    hex::encode(bytes)
}

async fn keep_chatting(info: Info, done: Arc<AtomicU64>, over: Arc<AtomicBool>) -> Chats {
    let mut chats = Chats::default();
    while !over.load(Ordering::Relaxed) {
        match chat(&info, "mock/fast", "Hello").await {
            Ok(answer) if answer.status.is_success() => {
                let id = answer.headers["x-request-id"]
                    .to_str()
                    .expect("an id is ASCII");
                chats.answered.insert(id.to_owned());
                done.fetch_add(1, Ordering::Relaxed);
            }
            Ok(answer) => chats
                .failed
                .push(format!("{}: {}", answer.status, answer.text())),
            Err(failure) => chats.failed.push(failure),
        }
    }
    chats
}
