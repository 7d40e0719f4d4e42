//! W3C Trace Context, level 2: whose trace a request belongs to, and what the gateway says of it to providers.
//!
//! Of `tracestate` nothing is read: it passes as it came, beside a `traceparent` that can be read, and not at all beside one
//! that cannot.

use std::{
    fmt,
    num::{NonZeroU64, NonZeroU128},
};

use http::{HeaderMap, HeaderName, HeaderValue};

/// Where the trace, and the caller's span in it, is told.
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What other tracing systems have to say of it.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of version 00: `00-<32>-<16>-<2>`.
const LENGTH: usize = 55;
/// The caller may have recorded its span.
const SAMPLED: u8 = 0b01;
/// The trace's id is random.
const RANDOM: u8 = 0b10;
/// The longest `tracestate` that is told with spans, in bytes: what the specification asks systems to pass on at least.
const MOST_STATE_BYTES: usize = 512;

/// A trace. Never 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceId(pub NonZeroU128);

/// A span within a trace. Never 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SpanId(pub NonZeroU64);

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl SpanId {
    /// A new one, made from numbers that are drawn.
    pub fn drawn(mut draw: impl FnMut() -> u64) -> Self {
        loop {
            if let Some(id) = NonZeroU64::new(draw()) {
                return Self(id);
            }
        }
    }
}

impl TraceId {
    fn drawn(mut draw: impl FnMut() -> u64) -> Self {
        loop {
            let number = u128::from(draw()) << 64 | u128::from(draw());
            if let Some(id) = NonZeroU128::new(number) {
                return Self(id);
            }
        }
    }
}

/// What a `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    /// The trace.
    pub trace: TraceId,
    /// The caller's span.
    pub span: SpanId,
    flags: u8,
}

impl Parent {
    /// Reads the header; `None`: there is none, there is more than one, or it cannot be read.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut values = headers.get_all(TRACEPARENT).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        Self::read(value.as_bytes())
    }

    /// Of a later version only what version 00 has is read, as the specification wants it.
    fn read(value: &[u8]) -> Option<Self> {
        let (begin, rest) = value.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = fields(begin)?;
        let version = hex(version)?;
        let is_well_ended = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        if !is_well_ended {
            return None;
        }
        // What other bits mean in later versions is not known.
        let known = u8::try_from(hex(flags)?).ok()? & (SAMPLED | RANDOM);
        Some(Self {
            trace: TraceId(NonZeroU128::new(hex(trace)?)?),
            span: SpanId(NonZeroU64::new(u64::try_from(hex(span)?).ok()?)?),
            flags: known,
        })
    }

    /// Whether the caller may have recorded its span.
    #[must_use]
    pub const fn is_sampled(self) -> bool {
        self.flags & SAMPLED != 0
    }
}

/// The four fields of version 00, whose dashes stand where they must.
fn fields(text: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = text.split(|byte| *byte == b'-');
    let found = [
        fields.next()?,
        fields.next()?,
        fields.next()?,
        fields.next()?,
    ];
    let lengths = found.map(<[u8]>::len);
    (fields.next().is_none() && lengths == [2, 32, 16, 2]).then_some(found)
}

/// The number that lower-case hexadecimal digits stand for; at most 32 of them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number: u128, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

/// Which requests are recorded that belong to no trace yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    /// Those whose trace's last 63 bits are less: as OpenTelemetry's SDKs choose by ratio, so that several services with the
    /// same ratio choose the same traces.
    below: u64,
}

impl Sampler {
    /// This part of them, from 0 to 1.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a ratio is no exact thing, and the conversion keeps to the bounds of the type"
    )]
    pub fn of_ratio(ratio: f64) -> Self {
        Self {
            below: (ratio * (1_u64 << 63) as f64) as u64,
        }
    }

    fn takes(self, trace: TraceId) -> bool {
        trace.0.get() & u128::from(u64::MAX >> 1) < u128::from(self.below)
    }
}

/// The trace that a request belongs to, and the gateway's span in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub trace: TraceId,
    /// The gateway's span.
    pub span: SpanId,
    /// The caller's span; `None`: the trace begins here.
    pub parent: Option<SpanId>,
    flags: u8,
}

impl Context {
    /// Goes on with the caller's trace, and does as it does about recording; or else begins one.
    ///
    /// `draw` gives numbers that nobody can foresee.
    pub fn of(headers: &HeaderMap, sampler: Sampler, mut draw: impl FnMut() -> u64) -> Self {
        let span = SpanId::drawn(&mut draw);
        if let Some(parent) = Parent::of(headers) {
            return Self {
                trace: parent.trace,
                span,
                parent: Some(parent.span),
                flags: parent.flags,
            };
        }
        let trace = TraceId::drawn(&mut draw);
        Self {
            trace,
            span,
            parent: None,
            // That its id is random is not said: readers of level 1 are known to refuse a flag that they do not know.
            flags: if sampler.takes(trace) { SAMPLED } else { 0 },
        }
    }

    /// Whether the request's spans are recorded.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The flags.
    #[must_use]
    pub const fn flags(&self) -> u8 {
        self.flags
    }

    /// What a provider is told whose span is a child of `span`.
    #[must_use]
    pub const fn told_as(&self, span: SpanId) -> Told {
        Told {
            trace: self.trace,
            span,
            flags: self.flags,
            goes_on: self.parent.is_some(),
        }
    }
}

/// What a provider is told of a trace, in place of what the caller said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    trace: TraceId,
    span: SpanId,
    flags: u8,
    goes_on: bool,
}

/// As the value of `traceparent`.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace, span, flags, ..
        } = self;
        write!(f, "00-{trace:?}-{span:?}-{flags:02x}")
    }
}

impl Told {
    /// Whether the caller's header of this name goes no further.
    #[must_use]
    pub fn replaces(&self, name: &HeaderName) -> bool {
        // The state of another trace says nothing of this one.
        *name == TRACEPARENT || (*name == TRACESTATE && !self.goes_on)
    }
}

/// The caller's `tracestate` as spans carry it; empty: there is none, or it is too long.
#[must_use]
pub fn state(headers: &HeaderMap) -> String {
    let values = headers.get_all(TRACESTATE).iter();
    let lines: Vec<_> = values
        .filter_map(|it| HeaderValue::to_str(it).ok())
        .collect();
    let joined = lines.join(",");
    if joined.len() > MOST_STATE_BYTES {
        return String::new();
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).expect("a header");
            headers.append(name.clone(), value);
        }
        headers
    }

    /// `expected`: trace, span and flags.
    fn check(value: &str, expected: Option<(&str, &str, u8)>) {
        let read = Parent::of(&headers(&[(TRACEPARENT, value)]));
        let read = read.map(|it| {
            (
                format!("{:?}", it.trace),
                format!("{:?}", it.span),
                it.flags,
            )
        });
        let read = read
            .as_ref()
            .map(|(trace, span, flags)| (trace.as_str(), span.as_str(), *flags));
        assert_eq!(read, expected, "{value}");
    }

    #[test]
    fn a_parent_is_read_as_the_specification_says() {
        check(&format!("00-{TRACE}-{SPAN}-01"), Some((TRACE, SPAN, 1)));
        check(&format!("00-{TRACE}-{SPAN}-00"), Some((TRACE, SPAN, 0)));
        check(&format!("00-{TRACE}-{SPAN}-03"), Some((TRACE, SPAN, 3)));
        // Other flags are not known, and not passed on.
        check(&format!("00-{TRACE}-{SPAN}-ff"), Some((TRACE, SPAN, 3)));
        check(&format!("00-{TRACE}-{SPAN}-08"), Some((TRACE, SPAN, 0)));
        // A later version may have more behind what this one has.
        check(&format!("cc-{TRACE}-{SPAN}-01"), Some((TRACE, SPAN, 1)));
        check(&format!("cc-{TRACE}-{SPAN}-01-"), Some((TRACE, SPAN, 1)));
        let later = format!("cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like");
        check(&later, Some((TRACE, SPAN, 1)));
    }

    #[test]
    fn what_is_no_parent_is_not_taken_for_one() {
        let upper = TRACE.to_uppercase();
        let short = &TRACE[1..];
        for value in [
            String::new(),
            "nonsense".to_owned(),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("0-{TRACE}-{SPAN}-01"),
            format!(".0-{TRACE}-{SPAN}-01"),
            format!("00-{upper}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{short}-{SPAN}-01"),
            format!("00-{TRACE}a-{SPAN}-01"),
            format!("00-{TRACE}-{SPAN}"),
            format!("00-{TRACE}-{SPAN}-"),
            format!("00-{TRACE}-{SPAN}-1"),
            format!("00-{TRACE}-{SPAN}-0x"),
            format!("00-{TRACE}-{SPAN}-011"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}-01."),
            format!("00_{TRACE}_{SPAN}_01"),
            format!("cc-{TRACE}-{SPAN}-01.more"),
            format!("cc-{TRACE}-{SPAN}-0"),
        ] {
            check(&value, None);
        }
        let one = format!("00-{TRACE}-{SPAN}-01");
        let twice = headers(&[(TRACEPARENT, &one), (TRACEPARENT, &one)]);
        assert_eq!(Parent::of(&twice), None, "which of two is not clear");
        assert_eq!(Parent::of(&HeaderMap::new()), None);
    }

    /// Numbers one after the other.
    fn counting() -> impl FnMut() -> u64 {
        let mut next = 0;
        move || {
            next += 1;
            next
        }
    }

    fn told(context: &Context, span: SpanId) -> String {
        context.told_as(span).to_string()
    }

    #[test]
    fn a_trace_goes_on_and_is_recorded_as_the_caller_does() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("02", false), ("03", true)] {
            let parent = format!("00-{TRACE}-{SPAN}-{flags}");
            let headers = headers(&[(TRACEPARENT, &parent), (TRACESTATE, "a=b")]);
            // Neither ratio overrules the caller.
            for ratio in [0.0, 1.0] {
                let context = Context::of(&headers, Sampler::of_ratio(ratio), counting());
                assert_eq!(context.is_sampled(), is_sampled, "{flags}");
                assert_eq!(
                    context.parent.map(|it| format!("{it:?}")).as_deref(),
                    Some(SPAN)
                );
                let attempt = SpanId::drawn(|| 0xabc);
                let expected = format!("00-{TRACE}-0000000000000abc-{flags}");
                assert_eq!(told(&context, attempt), expected);
                assert!(context.told_as(attempt).replaces(&TRACEPARENT));
                assert!(!context.told_as(attempt).replaces(&TRACESTATE));
            }
        }
    }

    #[test]
    fn a_trace_begins_where_there_was_none() {
        let lines = [(TRACEPARENT, "broken"), (TRACESTATE, "a=b")];
        for headers in [HeaderMap::new(), headers(&lines)] {
            let context = Context::of(&headers, Sampler::of_ratio(1.0), counting());
            assert_eq!((context.parent, context.is_sampled()), (None, true));
            let expected = format!("00-{:016x}{:016x}-0000000000000001-01", 2, 3);
            assert_eq!(told(&context, context.span), expected);
            assert!(context.told_as(context.span).replaces(&TRACESTATE));
        }
    }

    #[test]
    fn no_id_is_zero() {
        let mut drawn = [0, 7, 0, 0, 0, 9].into_iter();
        let context = Context::of(&HeaderMap::new(), Sampler::of_ratio(0.0), || {
            drawn.next().expect("no more are needed")
        });
        let ids = (context.span.0.get(), context.trace.0.get());
        assert_eq!(ids, (7, 9));
    }

    #[test]
    fn the_ratio_is_that_of_the_traces_that_begin_here() {
        let check = |ratio, expected: std::ops::RangeInclusive<usize>| {
            let sampler = Sampler::of_ratio(ratio);
            let mut number = 0_u64;
            // Weyl's sequence: its numbers lie evenly.
            let mut draw = || {
                number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
                number
            };
            let taken = (0..1_000)
                .filter(|_| Context::of(&HeaderMap::new(), sampler, &mut draw).is_sampled())
                .count();
            assert!(expected.contains(&taken), "{ratio}: {taken}");
        };
        check(0.0, 0..=0);
        check(0.25, 230..=270);
        check(1.0, 1_000..=1_000);
    }

    #[test]
    fn a_state_in_several_lines_is_one() {
        let two = headers(&[(TRACESTATE, "a=1,b=2"), (TRACESTATE, "c=3")]);
        assert_eq!(state(&two), "a=1,b=2,c=3");
        let long = "a=".to_owned() + &"x".repeat(600);
        assert_eq!(state(&headers(&[(TRACESTATE, &long)])), "");
        assert_eq!(state(&HeaderMap::new()), "");
    }
}
