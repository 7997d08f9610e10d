//! The live view of a run in a terminal, drawn from [`State`]. It knows nothing of roles or links.

use std::io;
use std::time::Duration;

use crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Sparkline, Table};
use ratatui::{DefaultTerminal, Frame};

use crate::event::{Difficulty, Rate};
use crate::report::State;

/// The terminal while the view has it. Dropping it gives the terminal back, also when the program panics.
pub(crate) struct View {
    terminal: DefaultTerminal,
}

impl View {
    /// Takes the terminal.
    pub(crate) fn open() -> io::Result<Self> {
        Ok(Self { terminal: ratatui::try_init()? })
    }

    /// Whether the terminal says how large it is. Serial lines do not.
    pub(crate) fn has_room() -> bool {
        crossterm::terminal::size().is_ok_and(|(columns, lines)| columns > 0 && lines > 0)
    }

    /// Draws the state once.
    pub(crate) fn draw(&mut self, state: &State) -> io::Result<()> {
        self.terminal.draw(|frame| draw(frame, state)).map(|_| ())
    }

    /// True when the person asked to end: q, Escape or Control-C, which a raw terminal does not turn into a signal.
    /// Never waits.
    pub(crate) fn wants_to_quit() -> io::Result<bool> {
        while event::poll(Duration::ZERO)? {
            if let Event::Key(key) = event::read()? {
                let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
                if control_c || matches!(key.code, KeyCode::Char('q') | KeyCode::Esc) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl Drop for View {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn draw(frame: &mut Frame<'_>, state: &State) {
    let links = u16::try_from(state.links.len().clamp(1, 6)).unwrap_or(6);
    let users = u16::try_from(state.shares.len().max(state.difficulty.len()).clamp(1, 8)).unwrap_or(8);
    let [head, curve, middle, log] = Layout::vertical([
        Constraint::Length(4),
        Constraint::Length(6),
        Constraint::Length(links.max(users + 1) + 2),
        Constraint::Fill(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, state);
    draw_curve(frame, curve, state);
    let [left, right] = Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(middle);
    draw_users(frame, left, state);
    draw_links(frame, right, state);
    draw_log(frame, log, state);
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let (accepted, rejected) = state.share_totals();
    let height = state.height.map_or_else(|| "-".to_owned(), |height| height.to_string());
    let block = state.blocks.last().map_or_else(|| "none yet".to_owned(), |(height, hash)| format!("{height} {hash}"));
    let lines = vec![
        Line::from(format!(
            "mining height {height}, template {}   jobs {}   shares {accepted} accepted, {rejected} rejected   {:.0} s",
            state.template_id,
            state.jobs,
            state.started.elapsed().as_secs_f64()
        )),
        Line::from(format!("blocks found {}   last {block}", state.blocks.len())).bold(),
    ];
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" adit ").title_bottom(" q ends ")), area);
}

fn draw_curve(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let now = state.hash_rate.back().copied().unwrap_or(0.0);
    // Thousands of hashes a second as whole numbers are fine enough for a curve four lines high.
    #[allow(clippy::cast_sign_loss, reason = "a hash rate is never negative")]
    let data: Vec<u64> = state.hash_rate.iter().map(|rate| (rate / 1_000.0) as u64).collect();
    let curve = Sparkline::default()
        .block(Block::bordered().title(format!(" hash rate {} ", Rate(now))))
        .style(Style::default().fg(Color::Cyan))
        .data(data);
    frame.render_widget(curve, area);
}

fn draw_users(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let mut users: Vec<&String> = state.shares.keys().chain(state.difficulty.keys()).collect();
    users.sort_unstable();
    users.dedup();
    let rows = users.into_iter().map(|user| {
        let (accepted, rejected) = state.shares.get(user).copied().unwrap_or_default();
        let difficulty = state.difficulty.get(user).map_or_else(String::new, |value| Difficulty(*value).to_string());
        Row::new([user.clone(), difficulty, accepted.to_string(), rejected.to_string()])
    });
    let widths = [Constraint::Fill(2), Constraint::Length(12), Constraint::Length(9), Constraint::Length(8)];
    let table = Table::new(rows, widths)
        .header(Row::new(["worker", "difficulty", "accepted", "rejected"]).bold())
        .block(Block::bordered().title(" shares "));
    frame.render_widget(table, area);
}

fn draw_links(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let lines: Vec<Line<'_>> = state.links.iter().map(|(from, to)| Line::from(format!("{from} -> {to}"))).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" links ")), area);
}

fn draw_log(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let room = usize::from(area.height.saturating_sub(2));
    let skipped = state.lines.len().saturating_sub(room);
    let lines: Vec<Line<'_>> = state.lines.iter().skip(skipped).map(|line| Line::from(line.as_str())).collect();
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" events ")), area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::event::Event;
    use crate::report::{Form, Reporter};

    fn screen(width: u16, height: u16, state: &State) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn the_view_shows_what_happened() {
        let mut reporter = Reporter::new(Form::View);
        for event in [
            Event::LinkUp { from: "pool".into(), to: "provider".into() },
            Event::Template { template_id: 7, height: 102, transactions: 5, fees: 900, new_tip: true },
            Event::Job { template_id: 7, new_tip: true },
            Event::ShareAccepted { user: "demo.1".into(), difficulty: 0.001 },
            Event::HashRate { hashes_per_second: 6_400_000.0, idle: None },
            Event::BlockAccepted { height: 102, hash: "00ff".into(), transactions: 5 },
        ] {
            reporter.tell(&event).unwrap();
        }
        let screen = screen(120, 40, reporter.state());
        for text in ["pool -> provider", "height 102", "demo.1", "6.40 MH/s", "blocks found 1", "00ff"] {
            assert!(screen.contains(text), "{text} is missing from\n{screen}");
        }
    }

    #[test]
    fn a_tiny_terminal_is_no_reason_to_fail() {
        let reporter = Reporter::new(Form::View);
        for (width, height) in [(1, 1), (10, 3), (30, 10)] {
            assert!(!screen(width, height, reporter.state()).is_empty());
        }
    }
}
