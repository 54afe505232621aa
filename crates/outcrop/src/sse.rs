//! Server-sent events out of a byte stream, however it is cut.

/// One event: its name and its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub name: String,
    pub data: String,
}

/// Collects bytes and gives whole events. Comments (heartbeats) give nothing.
#[derive(Debug, Default)]
pub struct Parser {
    held: Vec<u8>,
}

impl Parser {
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.held
            .extend(bytes.iter().filter(|byte| **byte != b'\r'));
        let mut events = Vec::new();
        while let Some(end) = self.held.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = self.held.drain(..end + 2).collect();
            events.extend(event(&String::from_utf8_lossy(&block)));
        }
        events
    }
}

fn event(block: &str) -> Option<Event> {
    let (mut name, mut data) = (String::from("message"), Vec::new());
    for line in block.lines().filter(|line| !line.starts_with(':')) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => name = value.to_owned(),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Event {
        name,
        data: data.join("\n"),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = ": keep-alive\n\nevent: delta\ndata: {\"text\":\"größer\"}\n\ndata: a\r\ndata: b\r\n\r\nevent: x\n\n";

    fn expected() -> Vec<Event> {
        let event = |name: &str, data: &str| Event {
            name: name.into(),
            data: data.into(),
        };
        vec![
            event("delta", "{\"text\":\"größer\"}"),
            event("message", "a\nb"),
        ]
    }

    proptest! {
        #[test]
        fn events_are_whole_over_any_cut(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(STREAM.len())).collect();
            places.extend([0, STREAM.len()]);
            places.sort_unstable();
            let mut parser = Parser::default();
            let found: Vec<Event> =
                places.windows(2).flat_map(|pair| parser.push(&STREAM.as_bytes()[pair[0]..pair[1]])).collect();
            prop_assert_eq!(found, expected());
        }
    }
}
