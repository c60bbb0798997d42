//! `sessions`

use std::time::Duration;

use cinderblock_store::{Role, SessionInfo, Timestamp};
use serde::Serialize;

use crate::context::Context;
use crate::output::facts;
use crate::output::number;
use crate::output::printable;
use crate::output::table::{self, Align};

/// A session, as programs are told of it.
#[derive(Debug, Serialize)]
pub struct SessionFacts {
    session_id: String,
    role: &'static str,
    host: String,
    process: u32,
    activity: String,
    started_at: Option<String>,
    renewed_at: Option<String>,
    /// Seconds since it last gave a sign of life.
    silent_seconds: Option<f64>,
    damaged: bool,
    /// Whether it has ended and could not remove its announcement, which is not read then: the next collection does.
    ended: bool,
}

fn silence(session: &SessionInfo) -> Option<Duration> {
    let since = Timestamp::now().microseconds().saturating_sub(session.renewed_at?.microseconds());
    Some(Duration::from_micros(u64::try_from(since).unwrap_or(0)))
}

impl SessionFacts {
    pub fn new(session: &SessionInfo) -> Self {
        Self {
            session_id: session.id.to_string(),
            role: match session.role {
                Role::Writer => "writer",
                Role::Collector => "collector",
            },
            host: session.host.clone(),
            process: session.process,
            activity: session.activity.clone(),
            started_at: session.started_at.map(|time| time.to_string()),
            renewed_at: session.renewed_at.map(|time| time.to_string()),
            silent_seconds: silence(session).map(|silence| silence.as_secs_f64()),
            damaged: session.damaged,
            ended: session.ended,
        }
    }

    /// `backup of vm-1 on host7, process 4711`
    pub fn text(&self) -> String {
        if self.host.is_empty() {
            return format!("session {}, whose announcement cannot be read", self.session_id);
        }
        format!("{} on {}, process {}", printable(&self.activity), printable(&self.host), self.process)
    }
}

/// The same with how long it has been silent.
pub fn describe(session: &SessionInfo) -> String {
    let text = SessionFacts::new(session).text();
    match silence(session) {
        Some(silence) => format!("{text} (last sign of life {} ago)", number::coarse_duration(silence)),
        None => text,
    }
}

pub fn run(context: &Context) -> anyhow::Result<()> {
    let sessions = context.repository()?.sessions()?;
    let facts: Vec<SessionFacts> = sessions.iter().map(SessionFacts::new).collect();
    context.answer(&facts, || text(&sessions))
}

fn text(sessions: &[SessionInfo]) -> String {
    let (at_work, ended): (Vec<_>, Vec<_>) = sessions.iter().cloned().partition(SessionInfo::is_at_work);
    let mut text = table(&at_work);
    if !ended.is_empty() {
        let ended = number::counted(ended.len() as u64, "session");
        text.push_str(&format!("{ended} could not remove what it left when it ended: 'cinderblock gc' does\n"));
    }
    text
}

fn table(sessions: &[SessionInfo]) -> String {
    let headings = [
        ("SESSION", Align::Left),
        ("HOST", Align::Left),
        ("PROCESS", Align::Right),
        ("STARTED", Align::Left),
        ("SILENT FOR", Align::Right),
        ("ACTIVITY", Align::Left),
    ];
    let row = |session: &SessionInfo| {
        [
            session.id.to_string(),
            session.host.clone(),
            session.process.to_string(),
            session.started_at.map(facts::time).unwrap_or_default(),
            silence(session).map(number::coarse_duration).unwrap_or_default(),
            if session.damaged { "(damaged announcement)".to_owned() } else { session.activity.clone() },
        ]
    };
    table::columns(headings, &sessions.iter().map(row).collect::<Vec<_>>())
}
