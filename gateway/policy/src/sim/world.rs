//! The simulated world: events in the order of their times, and what each does.

mod at_a_time;
mod bounds;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    rc::Rc,
};

use events_schema::time::Timestamp;

use self::at_a_time::LONGEST_US;
pub use self::bounds::CutOffs;
use super::{
    dice::Dice,
    setup::{LimitSetup, Load, SECOND_US, Setup},
    truth::{
        Admission, Breach, InWindow, Truth, UnderWay, Verdict, View,
        nothing_is_lost_after_convergence, remaining_is_never_negative, shares_never_sum_above_one,
    },
};
use crate::limits::{
    Measure,
    admission::{Charge, admit},
    aggregator::{Aggregator, OFFICE_US},
    counter::{Mode, Terms},
    gateway::{Gateway, HELD_US},
    message::{Broadcast, CounterId, Incarnation, Report, Steady},
    period::SlotNumber,
    share::Share,
};

/// The beginning of 2027: where it begins, minutes, hours, days, months and quarters end together.
pub(super) const NEW_YEAR_US: i64 = 1_798_761_600_000_000;

/// How long everything is calm at the end before it is compared: long enough for somebody to take office and be told all.
const CALM_US: u64 = 3 * OFFICE_US;

/// How often an office is renewed, and looked at.
const RENEWAL_US: u64 = 500_000;

/// How many aggregators there are.
const AGGREGATORS: usize = 2;

/// How a run ended in which everything held.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// Requests that were admitted.
    pub admitted: u64,
    /// Requests that were refused.
    pub refused: u64,
    /// For each limit its windows, in the order of their ends.
    pub windows: Vec<Vec<WindowOutcome>>,
    /// For each limit the shares of the gateways that were cut off, when that began.
    pub cut_shares: Vec<f64>,
    /// For each limit that counts at a time, the most that was under way at once.
    pub peaks: Vec<u64>,
    /// What was decided at gateways that were cut off for too long.
    pub cut_off: CutOffs,
}

/// What was admitted in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowOutcome {
    /// The slot with which it ends.
    pub end: SlotNumber,
    /// How much.
    pub total: u64,
}

#[derive(Debug)]
enum Event {
    Request,
    Report(usize),
    AtAggregator(usize, Rc<Report>),
    Broadcast(usize),
    AtGateway(usize, Box<Broadcast>),
    Office(usize),
    Settle(Open),
    Kill,
    Start(usize),
    CutOff,
    Join,
    Leave,
    EndOffice,
    CutFirst(usize, u64),
}

/// A request under way whose cost is not known yet.
#[derive(Debug, Clone, Copy)]
struct Open {
    node: usize,
    life: u32,
    limit: usize,
    slot: SlotNumber,
    reserved: u64,
    actual: u64,
    /// The number of its admission.
    number: u64,
}

/// A gateway, in one of its lives.
struct Node {
    gateway: Gateway,
    life: u32,
    is_alive: bool,
    has_left: bool,
    cut_until_us: u64,
    skew_us: i64,
}

struct Centre {
    aggregator: Aggregator,
    down_until_us: u64,
    /// The last report of each life that this aggregator has taken since it knew nothing.
    taken: BTreeMap<u32, Rc<Report>>,
}

struct World<'s> {
    setup: &'s Setup,
    dice: Dice,
    now_us: u64,
    scheduled: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    bodies: Vec<Option<Event>>,
    free: Vec<usize>,
    nodes: Vec<Node>,
    lives: u32,
    centres: Vec<Centre>,
    /// Who holds the office: the key that is compared and set.
    office: (u64, usize, u64),
    truths: Vec<Truth>,
    under_way: Vec<UnderWay>,
    orders: u64,
    admitted: u64,
    refused: u64,
    is_calm: bool,
    on: usize,
    cut_shares: Vec<f64>,
    cut_off: CutOffs,
}

/// Runs a simulation.
///
/// # Errors
/// The first property that does not hold.
pub fn run(setup: &Setup) -> Result<Outcome, Breach> {
    let mut world = World::new(setup);
    world.go_until(setup.run_us)?;
    world.calm_down();
    let counts_at_a_time = |it: &LimitSetup| it.period.is_at_a_time();
    let end_us = if setup.limits.iter().any(counts_at_a_time) {
        LONGEST_US + HELD_US
    } else {
        0
    };
    let calm_us = CALM_US + end_us + 2 * (setup.report_us + setup.broadcast_us);
    world.go_until(setup.run_us + calm_us)?;
    world.is_converged()?;
    let windows = world.truths.iter().map(|truth| {
        let windows = truth.windows().map(|(end, window)| WindowOutcome {
            end,
            total: window.total(),
        });
        windows.collect()
    });
    Ok(Outcome {
        admitted: world.admitted,
        refused: world.refused,
        windows: windows.collect(),
        cut_shares: world.cut_shares.clone(),
        cut_off: world.cut_off,
        peaks: world
            .under_way
            .iter()
            .filter(|it| it.peak > 0)
            .map(|it| it.peak)
            .collect(),
    })
}

fn counter_id(at: usize, limit: &LimitSetup) -> CounterId {
    CounterId {
        rule: [u8::try_from(at).unwrap_or(0); 16],
        measure: Measure::Requests,
        period: limit.period,
        segment: [0; 16],
    }
}

/// Those that gateways apply.
fn terms(limit: &LimitSetup) -> Terms {
    Terms::of_rate_limit(limit.most, Mode::Enforce, limit.when_cut_off)
}

fn incarnation(life: u32) -> Incarnation {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&life.to_be_bytes());
    Incarnation(id)
}

impl<'s> World<'s> {
    fn new(setup: &'s Setup) -> Self {
        let centre = || Centre {
            aggregator: Aggregator::new(),
            down_until_us: 0,
            taken: BTreeMap::new(),
        };
        let mut world = Self {
            setup,
            dice: Dice::new(setup.seed ^ 0x5eed),
            now_us: 0,
            scheduled: 0,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            free: Vec::new(),
            nodes: Vec::new(),
            lives: 0,
            centres: std::iter::repeat_with(centre).take(AGGREGATORS).collect(),
            office: (1, 0, 0),
            truths: setup.limits.iter().map(|it| Truth::new(*it)).collect(),
            under_way: setup.limits.iter().map(|it| UnderWay::new(*it)).collect(),
            orders: 0,
            admitted: 0,
            refused: 0,
            is_calm: false,
            on: 0,
            cut_shares: vec![0.0; setup.limits.len()],
            cut_off: CutOffs::default(),
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        for _ in 0..self.setup.gateways {
            self.add_node();
        }
        let now = self.steady();
        self.centres[0].aggregator.take_office(1, now);
        for at in 0..AGGREGATORS {
            self.after(self.setup.broadcast_us, Event::Broadcast(at));
            self.after(RENEWAL_US, Event::Office(at));
        }
        self.after(0, Event::Request);
        let trouble = self.setup.trouble;
        let mut often = |times: u64, event: fn() -> Event| {
            for _ in 0..times {
                let at = self.dice.between(0, self.setup.run_us);
                self.after(at, event());
            }
        };
        often(trouble.kills, || Event::Kill);
        often(trouble.cuts, || Event::CutOff);
        often(trouble.joins, || Event::Join);
        often(trouble.leaves, || Event::Leave);
        often(trouble.failovers, || Event::EndOffice);
        if let Some((many, from, to)) = self.setup.cut {
            self.after(from, Event::CutFirst(many, to));
        }
    }

    // --- time

    const fn steady(&self) -> Steady {
        Steady(self.now_us)
    }

    fn wall(&self, skew_us: i64) -> Timestamp {
        let before = i64::try_from(self.setup.before_new_year_us).unwrap_or(0);
        let now = i64::try_from(self.now_us).unwrap_or(0);
        Timestamp::MIN.plus_micros(NEW_YEAR_US - before + now + skew_us)
    }

    fn after(&mut self, us: u64, event: Event) {
        self.scheduled += 1;
        let body = match self.free.pop() {
            Some(free) => {
                self.bodies[free] = Some(event);
                free
            }
            None => {
                self.bodies.push(Some(event));
                self.bodies.len() - 1
            }
        };
        self.events
            .push(Reverse((self.now_us + us, self.scheduled, body)));
    }

    fn go_until(&mut self, end_us: u64) -> Result<(), Breach> {
        while let Some(Reverse((at_us, _, body))) = self.events.peek().copied() {
            if at_us > end_us {
                break;
            }
            self.events.pop();
            self.free.push(body);
            self.now_us = at_us;
            if let Some(event) = self.bodies[body].take() {
                self.step(event)?;
            }
        }
        self.now_us = end_us;
        Ok(())
    }

    fn check(&self, property: &'static str, verdict: Verdict) -> Result<(), Breach> {
        verdict.map_err(|numbers| Breach {
            property,
            at_us: self.now_us,
            numbers,
        })
    }

    fn step(&mut self, event: Event) -> Result<(), Breach> {
        match event {
            Event::Request => return self.requests(),
            Event::Report(node) => self.report(node),
            Event::AtAggregator(at, report) => self.take(at, report),
            Event::Broadcast(at) => self.broadcast(at),
            Event::AtGateway(node, broadcast) => return self.hear(node, &broadcast),
            Event::Office(at) => self.look_after_office(at),
            Event::Settle(open) => self.settle(open),
            Event::Kill => self.kill(),
            Event::Start(node) => self.start(node),
            Event::CutOff => self.cut_off(),
            Event::Join if !self.is_calm => self.add_node(),
            Event::Join => {}
            Event::Leave => self.leave(),
            Event::EndOffice => self.end_office(),
            Event::CutFirst(many, to) => self.cut_first(many, to),
        }
        Ok(())
    }

    // --- gateways

    fn new_gateway(&mut self) -> (Gateway, u32) {
        self.lives += 1;
        (
            Gateway::new(incarnation(self.lives), self.steady()),
            self.lives,
        )
    }

    fn add_node(&mut self) {
        let (gateway, life) = self.new_gateway();
        let skew = self.setup.trouble.skew_us;
        let skew_us = self.dice.between(0, 2 * skew + 1);
        self.nodes.push(Node {
            gateway,
            life,
            is_alive: true,
            has_left: false,
            cut_until_us: 0,
            skew_us: i64::try_from(skew_us).unwrap_or(0) - i64::try_from(skew).unwrap_or(0),
        });
        let first = self.dice.between(0, self.setup.report_us);
        self.after(first, Event::Report(self.nodes.len() - 1));
    }

    fn kill(&mut self) {
        let at = self.dice.place(self.nodes.len());
        if self.is_calm || !self.nodes[at].is_alive {
            return;
        }
        self.dies(at);
        let down = self.dice.between(0, 3 * SECOND_US);
        self.after(down, Event::Start(at));
    }

    /// With a gateway ends what is under way there.
    fn dies(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        node.is_alive = false;
        self.under_way.iter_mut().for_each(|it| it.died(node.life));
    }

    fn start(&mut self, at: usize) {
        let (gateway, life) = self.new_gateway();
        let node = &mut self.nodes[at];
        if !node.has_left {
            (node.gateway, node.life, node.is_alive) = (gateway, life, true);
        }
    }

    fn leave(&mut self) {
        let at = self.dice.place(self.nodes.len());
        if self.is_calm || !self.nodes[at].is_alive || self.nodes.len() < 2 {
            return;
        }
        let now = self.steady();
        let last = self.nodes[at].gateway.leave(now);
        self.dies(at);
        self.nodes[at].has_left = true;
        self.send_report(at, last);
    }

    fn cut_off(&mut self) {
        let many = 1 + self.dice.place(self.nodes.len());
        let until = self.now_us + self.dice.between(SECOND_US, 20 * SECOND_US);
        if self.is_calm {
            return;
        }
        for _ in 0..many {
            let at = self.dice.place(self.nodes.len());
            self.nodes[at].cut_until_us = until;
        }
    }

    fn cut_first(&mut self, many: usize, to: u64) {
        let now = self.steady();
        for at in 0..many {
            self.nodes[at].cut_until_us = to;
            for limit in 0..self.setup.limits.len() {
                let parts = self.share(&self.nodes[at], limit, now).parts();
                self.cut_shares[limit] += parts as f64 / Share::WHOLE.parts() as f64;
            }
        }
    }

    // --- requests

    /// Some requests, and when the next ones come.
    fn requests(&mut self) -> Result<(), Breach> {
        if self.is_calm {
            return Ok(());
        }
        let gap = SECOND_US / self.setup.rate.max(1);
        match self.setup.load {
            Load::Uniform => {
                let node = self.dice.place(self.nodes.len());
                self.request(node)?;
            }
            Load::Skewed => {
                let busy = self.nodes.len().div_ceil(10);
                let at_busy = self.dice.per_mille(900);
                let among = if at_busy { busy } else { self.nodes.len() };
                let node = self.dice.place(among);
                self.request(node)?;
            }
            Load::Bursts => return self.burst(gap),
            Load::OnOff => {
                if self.dice.per_mille(10) {
                    self.on = self.dice.place(self.nodes.len());
                }
                self.request(self.on)?;
            }
        }
        let next = self.dice.between(0, 2 * gap + 1);
        self.after(next, Event::Request);
        Ok(())
    }

    /// As many requests as would have come in four seconds, at all gateways at once.
    fn burst(&mut self, gap: u64) -> Result<(), Breach> {
        let each = 4 * SECOND_US / gap.max(1) / self.nodes.len() as u64;
        for node in 0..self.nodes.len() {
            for _ in 0..=each {
                self.request(node)?;
            }
        }
        self.after(4 * SECOND_US, Event::Request);
        Ok(())
    }

    fn request(&mut self, at: usize) -> Result<(), Breach> {
        if !self.nodes[at].is_alive {
            return Ok(());
        }
        self.note_who_keeps_limits_alone();
        let (now, setup) = (self.steady(), self.setup);
        let wall = self.wall(self.nodes[at].skew_us);
        let node = &mut self.nodes[at];
        let reach = node.gateway.reach(now);
        let mut charges = Vec::with_capacity(setup.limits.len());
        for (at, limit) in setup.limits.iter().enumerate() {
            let counter = node.gateway.place(counter_id(at, limit), terms(limit));
            let cost = self.dice.between(1, limit.cost_max + 1);
            charges.push(Charge::new(counter, cost));
        }
        // How each saw its counter, for the bound: what it admits changes that.
        let views = charges.iter().map(|charge| {
            let counter = &mut node.gateway.counters()[charge.counter];
            let (own, known) = counter.used(wall);
            (reach.of(counter.share()), own, known)
        });
        let views: Vec<(Share, u64, u64)> = views.collect();
        let decided = admit(node.gateway.counters(), &mut charges, reach, wall);
        self.choices_are_kept(reach, decided.map(drop))?;
        let node = &mut self.nodes[at];
        let standings = charges.iter().map(|charge| {
            let counter = &mut node.gateway.counters()[charge.counter];
            let (own, known) = counter.used(wall);
            // Of what is under way at a time nothing else says how much is left: there is nothing to compare it with.
            let compared = (!counter.id().period.is_at_a_time()).then_some(own + known);
            (counter.stands(reach, wall), compared, own)
        });
        let standings: Vec<_> = standings.collect();
        for (standing, compared, _) in &standings {
            if let Some(used) = *compared {
                let verdict = remaining_is_never_negative(standing.most, standing.remaining, used);
                self.check("remaining_is_never_negative", verdict)?;
            }
        }
        if decided.is_err() {
            self.refused += 1;
            return Ok(());
        }
        self.admitted += 1;
        let all = charges.iter().zip(views).zip(standings);
        for (limit, ((charge, (share, before, known)), (_, _, own))) in all.enumerate() {
            if setup.limits[limit].period.is_at_a_time() {
                let view = (own > before).then_some((share, known));
                self.is_under_way(at, limit, view)?;
            } else {
                let cut_off = terms(&setup.limits[limit]).when_cut_off(reach);
                let seen = cut_off.is_none().then_some((share, known));
                self.admitted_by(at, limit, charge.cost, wall, seen)?;
            }
        }
        Ok(())
    }

    /// `seen`: its share, and what it knew to be admitted; `None`: it is cut off for so long that it goes by none.
    fn admitted_by(
        &mut self,
        at: usize,
        limit: usize,
        cost: u64,
        wall: Timestamp,
        seen: Option<(Share, u64)>,
    ) -> Result<(), Breach> {
        let setup = self.setup.limits[limit];
        let slot = setup.period.slot_at(wall);
        self.orders += 1;
        let life = self.nodes[at].life;
        self.truths[limit].admitted(Admission {
            by: life,
            slot,
            cost,
            view: seen.map(|(share, known)| View {
                order: self.orders,
                share,
                known,
            }),
        });
        if setup.settles {
            let actual = if self.dice.per_mille(100) {
                cost + self.dice.between(0, 1 + cost / 2)
            } else {
                self.dice.between(0, cost + 1)
            };
            let open = Open {
                node: at,
                life,
                limit,
                slot,
                reserved: cost,
                actual,
                number: self.orders,
            };
            let lasts = self.dice.between(1_000, 3 * SECOND_US);
            self.after(lasts, Event::Settle(open));
        }
        let windows: Vec<InWindow> = self.truths[limit].windows_of(slot).collect();
        windows
            .iter()
            .try_for_each(|it| self.keeps_the_bounds(&setup, it))
    }

    fn settle(&mut self, open: Open) {
        let Open {
            node,
            life,
            limit,
            slot,
            reserved,
            actual,
            number,
        } = open;
        let node = &mut self.nodes[node];
        if node.life != life || !node.is_alive {
            return;
        }
        let setup = self.setup.limits[limit];
        let at = node.gateway.place(counter_id(limit, &setup), terms(&setup));
        node.gateway.counters()[at].settle(slot, reserved, actual);
        if setup.period.is_at_a_time() {
            self.under_way[limit].ended(life, number);
        } else {
            self.truths[limit].settled(life, slot, reserved, actual);
        }
    }

    // --- messages

    /// When a message arrives, as often as it does.
    fn deliveries(&mut self) -> Vec<u64> {
        let network = self.setup.network;
        let (lost, doubled) = if self.is_calm {
            (0, 0)
        } else {
            (network.lost_per_mille, network.doubled_per_mille)
        };
        if self.dice.per_mille(lost) {
            return Vec::new();
        }
        let slowest_us = if self.is_calm {
            network.fastest_us + 1_000
        } else {
            network.slowest_us
        };
        let times = 1 + usize::from(self.dice.per_mille(doubled));
        let mut delay = || self.dice.between(network.fastest_us, slowest_us);
        (0..times).map(|_| delay()).collect()
    }

    fn report(&mut self, at: usize) {
        let now = self.steady();
        let wall = self.wall(self.nodes[at].skew_us);
        if self.nodes[at].is_alive {
            self.nodes[at].gateway.sweep(wall);
            let report = self.nodes[at].gateway.report(now);
            self.send_report(at, report);
        }
        if !self.nodes[at].has_left {
            self.after(self.setup.report_us, Event::Report(at));
        }
    }

    fn send_report(&mut self, at: usize, report: Report) {
        if self.nodes[at].cut_until_us > self.now_us {
            return;
        }
        let report = Rc::new(report);
        for centre in 0..AGGREGATORS {
            for delay in self.deliveries() {
                self.after(delay, Event::AtAggregator(centre, Rc::clone(&report)));
            }
        }
    }

    fn take(&mut self, at: usize, report: Rc<Report>) {
        let now = self.steady();
        let centre = &mut self.centres[at];
        if centre.down_until_us > self.now_us {
            return;
        }
        centre.aggregator.merge(&report, now);
        let Incarnation(id) = report.incarnation;
        let life = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
        let last = centre
            .taken
            .entry(life)
            .or_insert_with(|| Rc::clone(&report));
        if last.number < report.number {
            *last = report;
        }
    }

    fn broadcast(&mut self, at: usize) {
        self.after(self.setup.broadcast_us, Event::Broadcast(at));
        if self.centres[at].down_until_us > self.now_us {
            return;
        }
        let (now, wall) = (self.steady(), self.wall(0));
        let lives: BTreeMap<Incarnation, usize> = self
            .nodes
            .iter()
            .enumerate()
            .map(|(at, node)| (incarnation(node.life), at))
            .collect();
        for broadcast in self.centres[at].aggregator.broadcast(now, wall) {
            if let Some(node) = lives.get(&broadcast.to) {
                for delay in self.deliveries() {
                    self.after(delay, Event::AtGateway(*node, Box::new(broadcast.clone())));
                }
            }
        }
    }

    fn hear(&mut self, at: usize, broadcast: &Broadcast) -> Result<(), Breach> {
        let now = self.steady();
        self.note_if_it_keeps_limits_alone(at, now);
        let node = &mut self.nodes[at];
        if node.cut_until_us > self.now_us || !node.is_alive {
            return Ok(());
        }
        node.gateway.hear(broadcast);
        for (limit, setup) in self.setup.limits.iter().enumerate() {
            let alive = self.nodes.iter().filter(|node| node.is_alive);
            // Whoever is cut off for too long goes by no share of it.
            let shared = alive.filter(|node| {
                let is_cut_off = terms(setup).when_cut_off(node.gateway.reach(now)).is_some();
                !(is_cut_off && setup.period.is_at_a_time())
            });
            let shares = shared.map(|node| self.share(node, limit, now));
            let verdict = shares_never_sum_above_one(shares);
            self.check("shares_never_sum_above_one", verdict)?;
        }
        Ok(())
    }

    /// The share that a gateway would use now.
    fn share(&self, node: &Node, limit: usize, now: Steady) -> Share {
        let id = counter_id(limit, &self.setup.limits[limit]);
        let dealt = node.gateway.dealt(&id);
        node.gateway.reach(now).of(dealt)
    }

    // --- the office

    fn look_after_office(&mut self, at: usize) {
        self.after(RENEWAL_US, Event::Office(at));
        if self.centres[at].down_until_us > self.now_us {
            return;
        }
        let now = self.steady();
        let (term, holder, renewed_us) = self.office;
        if holder == at && self.centres[at].aggregator.term(now) == Some(term) {
            self.office.2 = self.now_us;
            self.centres[at].aggregator.renew(now);
        } else if self.now_us > renewed_us + OFFICE_US {
            self.office = (term + 1, at, self.now_us);
            self.centres[at].aggregator.take_office(term + 1, now);
        }
    }

    /// Whoever is in office is killed, and has forgotten everything when it is back; or stands still for a while.
    fn end_office(&mut self) {
        if self.is_calm {
            return;
        }
        let down_us = self.dice.between(SECOND_US, 8 * SECOND_US);
        let forgets = self.dice.per_mille(600);
        let centre = &mut self.centres[self.office.1];
        centre.down_until_us = self.now_us + down_us;
        if forgets {
            centre.aggregator = Aggregator::new();
            centre.taken.clear();
        }
    }

    // --- the end

    fn calm_down(&mut self) {
        self.is_calm = true;
        for node in &mut self.nodes {
            node.cut_until_us = 0;
        }
        for centre in &mut self.centres {
            centre.down_until_us = 0;
        }
    }

    fn is_converged(&mut self) -> Result<(), Breach> {
        let now = self.steady();
        let (term, holder, _) = self.office;
        let verdict = match self.centres[holder].aggregator.term(now) {
            Some(in_office) if in_office == term => Ok(()),
            other => Err(format!("term {term} is held by {other:?}")),
        };
        self.check("somebody_is_in_office", verdict)?;
        let mut counted: BTreeMap<(CounterId, SlotNumber), u64> = BTreeMap::new();
        let mut reports: BTreeMap<u32, Rc<Report>> = self.centres[holder].taken.clone();
        for node in self.nodes.iter_mut().filter(|node| node.is_alive) {
            reports.insert(node.life, Rc::new(node.gateway.report(now)));
        }
        for row in reports.values().flat_map(|report| &report.rows) {
            for slot in &row.slots {
                *counted.entry((row.counter, slot.number)).or_default() += slot.own.net();
            }
        }
        // A gateway whose clock is ahead may have forgotten what others still count.
        let skew = i64::try_from(self.setup.trouble.skew_us).unwrap_or(0);
        let wall = self.wall(skew);
        for ((id, slot), expected) in counted {
            if id.period.is_at_a_time() || !id.period.counts_at(slot, id.period.slot_at(wall)) {
                continue;
            }
            let total = self.centres[holder].aggregator.total(&id, slot);
            let verdict = nothing_is_lost_after_convergence(total, expected, term == 1);
            self.check("nothing_is_lost_after_convergence", verdict)?;
        }
        self.nothing_is_under_way(holder, wall)
    }
}
