"""A lead of one standard deviation is rare for one fixed method, common for the best of ten.

Units: percentage points. sd is that of one run; one seed per method, all methods equal.
"""

import numpy as np
from scipy import stats


def share_of_leads(variants: int, others: int, lead: float, sd: float) -> float:
    """Return how often the best of the variants leads the best of the others by luck."""
    rng = np.random.default_rng(0)
    ours = rng.normal(scale=sd, size=(100_000, variants)).max(axis=1)
    theirs = rng.normal(scale=sd, size=(100_000, others)).max(axis=1)
    return float(np.mean(ours - theirs >= lead))


def seeds_for(effect: float, sd: float, comparisons: int) -> int:
    """Return the seeds per method for a power of 0.8, by the normal approximation."""
    z = stats.norm.ppf(1 - 0.025 / comparisons) + stats.norm.ppf(0.8)
    return int(np.ceil((z * 2**0.5 * sd / effect) ** 2))


if __name__ == "__main__":
    sd, reported = 0.3, 0.3
    fixed, chosen = (share_of_leads(k, 10, reported, sd) for k in (1, 10))
    print(f"one method, fixed beforehand, leads ten equals by {reported}: {fixed:.1%}")
    print(f"the best of ten variants does: {chosen:.0%}")
    seeds_one, seeds_ten = seeds_for(reported, sd, 1), seeds_for(reported, sd, 10)
    print(f"seeds for a true {reported}: {seeds_one} (one comparison), {seeds_ten} (ten)")

    assert 0.005 < fixed < 0.03 and 0.08 < chosen < 0.25
    assert seeds_one == 16 and seeds_ten > seeds_one
