//! How every list of the admin API is cut into pages: `?limit=&after=`, and `next` in the answer. A page is a place in
//! the order, not a snapshot: what comes to be before that place is not shown again.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::Error;

/// The most items on a page, and how many there are unless the caller says less.
const MAX_ITEMS: u32 = 100;

/// Which part of a list is asked for.
#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// At most this many items, 1 to 100.
    limit: Option<u32>,
    /// Only what comes after this place: the `next` of the page before.
    after: Option<String>,
}

/// A part of a list.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Page<T> {
    /// The items, in the list's order.
    pub(crate) items: Vec<T>,
    /// Where the next page begins: give it as `after`. Null on the last page.
    pub(crate) next: Option<String>,
}

impl<T> Page<T> {
    /// The page of what `view` makes of each item.
    pub(crate) fn try_map<U>(self, view: impl FnMut(T) -> Result<U, Error>) -> Result<Page<U>, Error> {
        Ok(Page { items: self.items.into_iter().map(view).collect::<Result<_, _>>()?, next: self.next })
    }

    /// The page of what `view` makes of each item, where nothing can go wrong.
    pub(crate) fn map<U>(self, view: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(view).collect(), next: self.next }
    }
}

impl PageQuery {
    /// How many items the page may have.
    pub(crate) fn limit(&self) -> usize {
        let limit = self.limit.unwrap_or(MAX_ITEMS).clamp(1, MAX_ITEMS);
        usize::try_from(limit).unwrap_or(usize::MAX)
    }

    /// The place that the page begins after.
    pub(crate) fn after<K: FromStr>(&self) -> Result<Option<K>, Error> {
        let parse = |after: &String| after.parse().map_err(|_| Error::PageAfter(after.chars().take(64).collect()));
        self.after.as_ref().map(parse).transpose()
    }

    /// The page of a list that is in the order of `key`.
    pub(crate) fn cut<T, K: Display + FromStr + Ord>(
        &self,
        items: impl IntoIterator<Item = T>,
        key: impl Fn(&T) -> K,
    ) -> Result<Page<T>, Error> {
        let after = self.after::<K>()?;
        let rest = items.into_iter().filter(|item| after.as_ref().is_none_or(|after| key(item) > *after));
        let mut items: Vec<T> = rest.take(self.limit().saturating_add(1)).collect();
        let more = items.len() > self.limit();
        items.truncate(self.limit());
        let next = items.last().filter(|_| more).map(|item| key(item).to_string());
        Ok(Page { items, next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(limit: Option<u32>, after: Option<&str>) -> Page<u32> {
        let query = PageQuery { limit, after: after.map(str::to_owned) };
        query.cut([1, 2, 9, 10, 11], |number| *number).unwrap()
    }

    #[test]
    fn the_pages_of_a_list_are_the_list() {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let page = ask(Some(2), after.as_deref());
            assert!(page.items.len() <= 2);
            seen.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, [1, 2, 9, 10, 11]);
    }

    #[test]
    fn a_page_that_ends_with_the_list_says_so() {
        assert_eq!(ask(Some(5), None).next, None);
        assert_eq!(ask(Some(4), None).next.as_deref(), Some("10"));
        assert_eq!(ask(None, Some("11")), Page { items: vec![], next: None });
    }

    #[test]
    fn limits_are_held_and_a_place_that_is_none_is_refused() {
        let limit = |limit| PageQuery { limit, after: None }.limit();
        assert_eq!([limit(None), limit(Some(0)), limit(Some(7)), limit(Some(5000))], [100, 1, 7, 100]);
        let query = PageQuery { limit: None, after: Some("x".to_owned()) };
        assert!(matches!(query.cut([1], |number: &i32| *number), Err(Error::PageAfter(place)) if place == "x"));
    }
}
