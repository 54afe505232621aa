//! The books of budgets: one row for each space and month. What a call may cost is held in one conditional write, together for
//! the day and the month, before the call is made; afterwards what it did cost stands instead.
//!
//! What is held stands under the minute until which it is. A call that ends no more never settles: whoever comes after that
//! minute gives back what is left. Writes name themselves, so that one whose answer was lost is not made twice.

use aws::dynamo::{Added, Addition, Holds, Numbers, keys};
use aws::telemetry::{Metric, Unit, metrics};
use aws::{Aws, AwsError, clock};

use super::budget::{Budget, Standing, names, standings};
use super::calendar::{DAY_MS, Day};
use super::hold::{Hold, MINUTE_MS};
use super::rows::Posting;
use super::usage;
use crate::KnowledgeError;

/// Days that a month's row is kept after it.
const KEPT_DAYS: u64 = 60;
/// Attempts at a write while others change the same row.
const ATTEMPTS: u32 = 4;

/// A space with a budget.
pub(crate) struct Purse<'a> {
    pub aws: &'a Aws,
    pub space: &'a str,
    pub budget: &'a Budget,
}

impl Purse<'_> {
    /// Holds `amount` more, if both the day and the month have room for it. Answers how they stand then.
    ///
    /// # Errors
    /// [`KnowledgeError::BudgetSpent`]; the table's.
    pub async fn hold(
        &self,
        hold: &mut Hold,
        amount: u64,
        once: &str,
    ) -> Result<Vec<Standing>, KnowledgeError> {
        let taking = self.taking(hold, amount).map(|taking| Addition {
            once: Some(format!("{once}/hold")),
            ..taking
        });
        let numbers = self.take(hold.day(), amount, taking).await?;
        hold.amount = hold.amount.saturating_add(amount);
        let standings = standings(self.budget, &numbers, hold.day());
        tell(self.space, &standings);
        Ok(standings)
    }

    /// Holds once more what was given back. Where somebody else was first, nothing is added.
    ///
    /// # Errors
    /// As [`Self::hold`].
    pub async fn hold_again(&self, hold: &Hold) -> Result<(), KnowledgeError> {
        let mut taking = self.taking(hold, hold.amount);
        if let Some(taking) = &mut taking {
            taking.holds.push(Holds::Absent(hold.name.clone()));
        }
        match self.take(hold.day(), hold.amount, taking).await {
            Err(KnowledgeError::BudgetSpent { .. }) if self.holds(hold).await? => Ok(()),
            taken => taken.map(|_| ()),
        }
    }

    /// Whether something is held under a name whose time is not over: it may be used up.
    ///
    /// # Errors
    /// The table's.
    pub async fn holds(&self, hold: &Hold) -> Result<bool, AwsError> {
        let is_over = names::is_over(&hold.name, clock::now_ms() / MINUTE_MS);
        Ok(!is_over && self.left(hold).await?.is_some())
    }

    /// Makes a write that takes `amount`, once what is held beyond its time is given back. Answers the numbers after it,
    /// without what is not given back yet.
    async fn take(
        &self,
        day: Day,
        amount: u64,
        taking: Option<Addition>,
    ) -> Result<Numbers, KnowledgeError> {
        let now_ms = clock::now_ms();
        for _ in 0..ATTEMPTS {
            let added = match &taking {
                Some(addition) => self.aws.table.add(&self.key(day), addition).await?,
                // More than all there is.
                None => Added::Refused(self.aws.table.numbers(&self.key(day)).await?),
            };
            match added {
                Added::Made(mut numbers) | Added::MadeBefore(mut numbers) => {
                    self.give_back_expired(&numbers, day, now_ms).await?;
                    names::forget_expired(&mut numbers, now_ms / MINUTE_MS);
                    return Ok(numbers);
                }
                Added::Refused(numbers) => {
                    if self.give_back_expired(&numbers, day, now_ms).await? == 0 {
                        return Err(self.refusal(&numbers, day, amount, now_ms));
                    }
                }
            }
        }
        let detail = format!("the budget of {}", self.space);
        Err(AwsError::Conflict { detail }.into())
    }

    /// The write that holds; `None` where a limit is below the amount.
    fn taking(&self, hold: &Hold, amount: u64) -> Option<Addition> {
        let day = hold.day();
        let limits = [
            (names::day(day), self.budget.day_nano_usd),
            (names::MONTH.to_owned(), self.budget.month_nano_usd),
        ];
        let mut holds = Vec::new();
        for (name, limit) in limits {
            if let Some(limit) = limit {
                holds.push(Holds::AtMost(name, signed(limit.checked_sub(amount)?)));
            }
        }
        Some(Addition {
            holds,
            ..self.moving(day, signed(amount), Some((&hold.name, signed(amount))))
        })
    }

    /// A write that changes what is taken of a day and its month and, where something is held, that too.
    fn moving(&self, day: Day, taken: i64, held: Option<(&str, i64)>) -> Addition {
        let taken = [(names::MONTH.to_owned(), taken), (names::day(day), taken)];
        let held = held.map(|(name, amount)| (name.to_owned(), amount));
        let ends_ms = day.first_of_next_month().begins_ms();
        Addition {
            amounts: taken.into_iter().chain(held).collect(),
            expires_at: Some((ends_ms + KEPT_DAYS * DAY_MS) / 1_000),
            ..Addition::default()
        }
    }

    /// Puts what was spent instead of what was held. What was given back meanwhile is taken anew, whatever the limit says: it
    /// is spent.
    ///
    /// # Errors
    /// The table's.
    pub async fn settle(&self, hold: &Hold, spent: u64, once: &str) -> Result<(), AwsError> {
        let day = hold.day();
        let (held, spent) = (signed(hold.amount), signed(spent));
        let settling = Addition {
            holds: vec![Holds::Exists(hold.name.clone())],
            once: Some(format!("{once}/settle")),
            ..self.moving(day, spent.saturating_sub(held), Some((&hold.name, -held)))
        };
        match self.aws.table.add(&self.key(day), &settling).await? {
            Added::Made(numbers) | Added::MadeBefore(numbers) => {
                tell(self.space, &standings(self.budget, &numbers, day));
                Ok(())
            }
            Added::Refused(_) => {
                let named = Addition {
                    once: Some(format!("{once}/spend")),
                    ..Addition::default()
                };
                self.spend(day, spent, named).await
            }
        }
    }

    /// Takes what was spent out of what a run holds, or as it is where the run holds nothing.
    ///
    /// # Errors
    /// The table's.
    pub async fn draw(
        &self,
        hold: Option<&Hold>,
        spent: u64,
        posting: &Posting,
    ) -> Result<(), AwsError> {
        let spent = signed(spent);
        let day = Day::of(posting.at_ms);
        // One name whatever it is drawn from: what was held when it was posted first may be given back.
        let drawn = Addition {
            once: Some(format!("{}/draw", posting.id)),
            for_good: posting.for_good,
            ..Addition::default()
        };
        let Some(hold) = hold else {
            return self.spend(day, spent, drawn).await;
        };
        let drawing = Addition {
            amounts: vec![(hold.name.clone(), -spent)],
            holds: vec![Holds::Exists(hold.name.clone())],
            ..drawn.clone()
        };
        match self.aws.table.add(&self.key(hold.day()), &drawing).await? {
            Added::Made(numbers) | Added::MadeBefore(numbers) => {
                self.overdrawn(hold, &numbers).await
            }
            Added::Refused(_) => self.spend(day, spent, drawn).await,
        }
    }

    /// Takes what a run spent beyond what it holds, which was an estimate: it counts at once, whatever the limit says.
    async fn overdrawn(&self, hold: &Hold, numbers: &Numbers) -> Result<(), AwsError> {
        let left = numbers.get(&hold.name).copied().unwrap_or_default();
        if left >= 0 {
            return Ok(());
        }
        let (day, more) = (hold.day(), left.saturating_neg());
        let taking = Addition {
            // Whoever drew in between sees what both drew.
            holds: vec![Holds::Is(hold.name.clone(), left)],
            ..self.moving(day, more, Some((&hold.name, more)))
        };
        self.aws
            .table
            .add(&self.key(day), &taking)
            .await
            .map(|_| ())
    }

    /// Takes what was spent under the name that `named` has.
    async fn spend(&self, day: Day, spent: i64, named: Addition) -> Result<(), AwsError> {
        let spending = Addition {
            once: named.once,
            for_good: named.for_good,
            ..self.moving(day, spent, None)
        };
        self.aws
            .table
            .add(&self.key(day), &spending)
            .await
            .map(|_| ())
    }

    /// What is held under a name still; `None` where nothing is.
    ///
    /// # Errors
    /// The table's.
    pub async fn left(&self, hold: &Hold) -> Result<Option<u64>, AwsError> {
        let numbers = self.aws.table.numbers(&self.key(hold.day())).await?;
        let left = numbers.get(&hold.name);
        Ok(left.map(|left| u64::try_from(*left).unwrap_or_default()))
    }

    /// Gives back what a run that has ended holds still.
    ///
    /// # Errors
    /// The table's.
    pub async fn give_back(&self, hold: &Hold) -> Result<(), AwsError> {
        let day = hold.day();
        for _ in 0..ATTEMPTS {
            let numbers = self.aws.table.numbers(&self.key(day)).await?;
            let Some(left) = numbers.get(&hold.name) else {
                return Ok(());
            };
            if self.release(day, day.of_month(), &hold.name, *left).await? {
                return Ok(());
            }
        }
        let detail = format!("the budget of {}", self.space);
        Err(AwsError::Conflict { detail })
    }

    /// Gives back what is held beyond its time, unless somebody else is first; answers under how many names that was.
    async fn give_back_expired(
        &self,
        numbers: &Numbers,
        day: Day,
        now_ms: u64,
    ) -> Result<usize, AwsError> {
        let minute = now_ms / MINUTE_MS;
        let mut given = 0;
        for (name, left) in numbers {
            if let Some((of_month, _)) = names::parse_held(name)
                && names::is_over(name, minute)
            {
                self.release(day, of_month, name, *left).await?;
                given += 1;
            }
        }
        Ok(given)
    }

    /// Removes what is held under a name, if it is still `left`.
    async fn release(
        &self,
        month_of: Day,
        of_month: u64,
        name: &str,
        left: i64,
    ) -> Result<bool, AwsError> {
        let day = month_of.first_of_month().plus(of_month.saturating_sub(1));
        let giving = Addition {
            removed: vec![name.to_owned()],
            holds: vec![Holds::Is(name.to_owned(), left)],
            ..self.moving(day, left.saturating_neg(), None)
        };
        let added = self.aws.table.add(&self.key(month_of), &giving).await?;
        Ok(!matches!(added, Added::Refused(_)))
    }

    fn refusal(&self, numbers: &Numbers, day: Day, needed: u64, now_ms: u64) -> KnowledgeError {
        metrics(
            &[Metric {
                name: "BudgetRefusals",
                unit: Unit::Count,
                value: 1.0,
            }],
            &[("space", self.space)],
        );
        let standings = standings(self.budget, numbers, day);
        let full = |one: &&Standing| one.taken.saturating_add(needed) > one.limit;
        let full = standings.iter().find(full).or(standings.first());
        match full {
            Some(full) => full.refusal(needed, now_ms),
            None => AwsError::Conflict {
                detail: "a budget that bounds nothing refused".into(),
            }
            .into(),
        }
    }

    /// How the spans stand now, without what is held beyond its time: that is given back when it is in the way.
    ///
    /// # Errors
    /// The table's.
    pub async fn standings(&self) -> Result<Vec<Standing>, AwsError> {
        let now_ms = clock::now_ms();
        let day = Day::of(now_ms);
        let mut numbers = self.aws.table.numbers(&self.key(day)).await?;
        names::forget_expired(&mut numbers, now_ms / MINUTE_MS);
        Ok(standings(self.budget, &numbers, day))
    }

    /// Takes over what the counters say was spent before the budget was set.
    ///
    /// # Errors
    /// The table's; [`AwsError::Conflict`] when others change the row time after time.
    pub async fn take_over(&self) -> Result<(), AwsError> {
        let today = Day::of(clock::now_ms());
        let rows = usage::rows(self.aws, self.space, today.first_of_month(), today).await?;
        let key = self.key(today);
        for _ in 0..ATTEMPTS {
            let numbers = self.aws.table.numbers(&key).await?;
            let mut holds = Vec::new();
            let mut missing = |name: String, counted: u64, held: i64| {
                holds.push(match numbers.get(&name) {
                    Some(known) => Holds::Is(name.clone(), *known),
                    None => Holds::Absent(name.clone()),
                });
                // What is held is counted when it is spent.
                let known = numbers.get(&name).copied().unwrap_or_default() - held;
                (name, signed(counted).saturating_sub(known).max(0))
            };
            let of_month = names::held_of(&numbers, None);
            let of_day = names::held_of(&numbers, Some(today));
            let day = today.to_string();
            let amounts = vec![
                missing(names::MONTH.to_owned(), total(&rows, None), of_month),
                missing(names::day(today), total(&rows, Some(&day)), of_day),
            ];
            let taking = Addition {
                amounts,
                holds,
                ..self.moving(today, 0, None)
            };
            if !matches!(self.aws.table.add(&key, &taking).await?, Added::Refused(_)) {
                return Ok(());
            }
        }
        let detail = format!("the budget of {}", self.space);
        Err(AwsError::Conflict { detail })
    }

    fn key(&self, day: Day) -> keys::Key {
        keys::budget(self.space, &day.month())
    }
}

fn total(rows: &[super::rows::UsageRow], day: Option<&str>) -> u64 {
    let rows = rows
        .iter()
        .filter(|row| day.is_none_or(|day| row.day == day));
    rows.fold(0, |sum, row| sum.saturating_add(row.cost_nano_usd))
}

fn signed(amount: u64) -> i64 {
    i64::try_from(amount).unwrap_or(i64::MAX)
}

/// Tells CloudWatch how much of the budget is taken.
fn tell(space: &str, standings: &[Standing]) {
    let most = standings.iter().map(|one| one.percent()).max();
    let value = most.unwrap_or_default() as f64;
    metrics(
        &[Metric {
            name: "BudgetPercent",
            unit: Unit::Percent,
            value,
        }],
        &[("space", space)],
    );
}
