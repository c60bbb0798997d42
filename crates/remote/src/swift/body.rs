//! The bytes of a request, handed over piece by piece.
//!
//! A body ends only where its end is said. If the one who hands the pieces over goes away before, the body ends with an
//! error, and the connection is cut before what would end the request for the server: nothing is stored.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc;

use super::Error;

/// The largest piece, in bytes.
pub(super) const PIECE: usize = 256 * 1024;

/// How many pieces wait between the writer and the connection.
const WAITING: usize = 4;

/// What goes through the channel.
enum Item {
    Bytes(Bytes),
    End,
}

/// The writer's end.
pub(super) struct Feed(mpsc::Sender<Item>);

/// The other side no longer takes anything: the request has ended.
#[derive(Debug)]
pub(super) struct Closed;

impl Feed {
    /// Hands over a piece when there is room for it.
    pub(super) async fn send(&self, piece: Bytes) -> Result<(), Closed> {
        self.0.send(Item::Bytes(piece)).await.map_err(|_| Closed)
    }

    /// Says that this was all.
    pub(super) async fn end(self) -> Result<(), Closed> {
        self.0.send(Item::End).await.map_err(|_| Closed)
    }
}

/// The connection's end.
pub(super) struct Body {
    pieces: mpsc::Receiver<Item>,
    ended: bool,
}

/// A body and what feeds it.
pub(super) fn pair() -> (Feed, Body) {
    let (sender, pieces) = mpsc::channel(WAITING);
    (Feed(sender), Body { pieces, ended: false })
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let item = std::task::ready!(self.pieces.poll_recv(context));
        Poll::Ready(match item {
            Some(Item::Bytes(bytes)) => Some(Ok(bytes)),
            Some(Item::End) => {
                self.ended = true;
                None
            }
            None => {
                self.ended = true;
                Some(Err(Error::Abandoned))
            }
        })
    }
}
