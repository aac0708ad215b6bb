//! "did you mean": the nearest known word to one that is not known.

use strsim::osa_distance;

/// Characters of the unknown word that are compared: enough for every key, and a long one costs no time.
const LONGEST: usize = 64;

/// The candidate nearest to `word`, if it is near enough to be a slip of the hand.
pub(super) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: String = word.to_lowercase().chars().take(LONGEST).collect();
    candidates
        .into_iter()
        .map(|candidate| (osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|(cost, candidate)| *cost <= (candidate.chars().count().max(word.chars().count()) / 3).max(1))
        .min_by_key(|(cost, _)| *cost)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        let keys = [
            "virtual_router_id",
            "priorities",
            "advert_int",
            "auth_pass",
            "interface",
        ];
        assert_eq!(nearest("virtual_routerid", keys), Some("virtual_router_id"));
        assert_eq!(nearest("Priorites", keys), Some("priorities"));
        assert_eq!(nearest("atuh_pass", keys), Some("auth_pass"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest("", keys), None);
    }
}
