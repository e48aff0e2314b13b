"""What pages say of measurements, in words computed from their lines; :mod:`claims` says where.

A function takes the lines of one claim.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean, median

from claim import Lines, last, series

# ---------------------------------------------------------------- agents


def by_seed(lines: Lines) -> Lines:
    """The last line of each seed."""
    found = last(lines, "seed")
    return [found[seed] for seed in sorted(found)]


def at(lines: Lines, frames: int) -> list[float]:
    """The evaluation at a number of frames, by seed."""
    return [{step: mean for step, mean in x["evaluations"]}[frames] for x in by_seed(lines)]


def walker_on_the_front_page(lines: Lines) -> str:
    """Returns at the end of the command's runs, the random policy's, and minutes."""
    runs = by_seed(lines)
    minutes = [run["cpu_minutes"] for run in runs]
    random = fmean(run["random"] for run in runs)
    return (
        f"Measured: {series(at(lines, 30_000), last=' and ')} on three seeds, random {random:.0f}, "
        f"{min(minutes):.0f} to {max(minutes):.0f} CPU minutes"
    )


def walker(lines: Lines) -> str:
    """The same on the page of agents."""
    early, late = series(at(lines, 20_000), last=" and "), series(at(lines, 30_000), last=" and ")
    return f"{early} at 20,000 frames, {late} at 30,000"


def seven(lines: Lines) -> str:
    """The mean over the tasks of dm-control, each the mean of its seeds, at 50,000 frames."""
    own = [x for x in lines if x["env"].startswith("dm_control/")]
    far = [x for x in own if 50_000 in dict(x["evaluations"])]
    tasks = sorted({x["env"] for x in far})
    found = [fmean(at([x for x in far if x["env"] == t], 50_000)) for t in tasks]
    return f"mean over the {len(tasks)} tasks is {fmean(found):.0f} at 50,000 frames"


def mean_far(lines: Lines) -> str:
    """The mean over the tasks, each the mean of its seeds."""
    tasks = {x["env"] for x in lines}
    assert len(tasks) == 7, "the seven tasks of dm-control"
    scores = [fmean(x["score"] for x in lines if x["env"] == task) for task in tasks]
    return f"{fmean(scores):.0f} at 100,000"


def finger(lines: Lines) -> str:
    """One run of another task, with the discount that others use."""
    first, second = at(lines, 10_000)[0], at(lines, 20_000)[0]
    return f"finger-spin {first:.0f} and {second:.0f} at 10,000 and 20,000"


def pessimistic(name: str) -> Callable[[Lines], str]:
    """One run with the smaller of two critics."""

    def says(lines: Lines) -> str:
        first, second = at(lines, 10_000)[0], at(lines, 20_000)[0]
        return f"{name} {first:.0f} " + (
            f"at 10,000 and {second:.0f}" if name == "reached" else f"and {second:.0f}"
        )

    return says


def dreamer(lines: Lines) -> str:
    """A row of the table on the page of what was learned."""
    runs = by_seed(lines)
    scores = series([run["score"] for run in runs])
    minutes, random = fmean(r["cpu_minutes"] for r in runs), fmean(r["random"] for r in runs)
    run = runs[0]
    return (
        f"| `{run['env']}` | {run['action_repeat']} | {run['steps']:,} | {run['updates']:,} | "
        f"{scores} | {random:.0f} | {minutes:.1f} |"
    )


def ends(lines: Lines) -> str:
    """The last evaluation of each seed, and what the runs took."""
    runs = by_seed(lines)
    found = series([run["evaluations"][-1][1] for run in runs])
    least, most = min(r["cpu_minutes"] for r in runs), max(r["cpu_minutes"] for r in runs)
    return f"it ends at {found} (seeds 0, 1, 2), after {least:.1f} to {most:.1f} CPU minutes"


def poles(lines: Lines) -> str:
    """The second and third evaluation of each seed on CartPole-v1."""
    second, third = (series([x["evaluations"][i][1] for x in by_seed(lines)]) for i in (1, 2))
    return f"returns {second} after 10,000 frames and {third} after 15,000"


def pixels(lines: Lines) -> str:
    """The last evaluation of each seed from images, its score, and what the runs took."""
    runs = by_seed(lines)
    ends, scores = (
        series(found) for found in zip(*[(run["evaluations"][-1][1], run["score"]) for run in runs])
    )
    most = max(run["cpu_minutes"] for run in runs)
    return (
        f"returns {ends} after {runs[0]['frames']:,} frames, as the mean of the last three "
        f"evaluations {scores}, in at most {most:.0f} CPU minutes"
    )


def stops(lines: Lines) -> str:
    """Runs that were stopped by signals, the last of each kind, seed and signal."""
    runs = last([x for x in lines if x["signal"].startswith("SIG")], "run", "seed", "signal")
    made, wrong = (sum(x[key] for x in runs.values()) for key in ("stops", "differences"))
    return f"{len(runs)} runs, {made} stops, {wrong} differences"


# ---------------------------------------------------------------- models of series


def chorales(lines: Lines) -> str:
    """Bounds and likelihoods, nats a frame."""
    bounds = series([x["test_bound"] for x in lines], 2)
    minutes = fmean(60 * x["cpu_hours"] for x in lines)
    return f"{minutes:.0f} CPU minutes, seeds 0, 1, 2: {bounds} nats a frame"


def chorales_sampled(lines: Lines) -> str:
    """By importance sampling."""
    return f"{series([x['test_is_2000'] for x in lines], 2)} by importance sampling"


def chorales_in_short(lines: Lines) -> str:
    """Means of the seeds."""
    bound, sampled = (fmean(x[key] for x in lines) for key in ("test_bound", "test_is_2000"))
    return f"{bound:.2f} nats a frame (bound), {sampled:.2f} (IS)"


def robot_log(name: str, label: str, robot: str) -> Callable[[Lines], str]:
    """A row of open-loop errors."""
    return lambda lines: (
        f"| {robot}, {label} | "
        + " | ".join(
            f"{fmean(x['at'][name][h] for x in lines):.3f}" for h in ("1", "5", "20", "50")
        )
        + " |"
    )


def oscillator(lines: Lines) -> str:
    """TD-VAE: phase after 20 steps, frequency after 100."""
    steps, jumps = (fmean(x[kind]["phase_20"] for x in lines) for kind in ("steps", "jumps"))
    rates = [100 * x["steps"]["frequency_100"] for x in lines]
    return (
        f"{steps:.2f} rad of phase error 20 frames ahead ({jumps:.2f} by jumps of 5), "
        f"{fmean(rates):.1f} % of frequency error 100 frames ahead ({series(rates, 1)})"
    )


def oscillator_filtered(lines: Lines) -> str:
    """The DMM."""
    phase = fmean(x["filter"]["phase_20"] for x in lines)
    rate = 100 * fmean(x["filter"]["frequency_100"] for x in lines)
    return f"{phase:.2f} rad and {rate:.2f} %"


def camera(name: str, label: str) -> Callable[[Lines], str]:
    """A row of errors of a pixel, open loop."""

    def says(lines: Lines) -> str:
        errors = [lines[-1]["rmse"][f"{name}_{steps}"] for steps in (1, 5, 40)]
        return f"| {label} | " + " | ".join(f"{error:.1f}" for error in errors) + " |"

    return says


# ---------------------------------------------------------------- robots


def offline(lines: Lines) -> str:
    """What agents from a log return beside the log, and how often the arm arrives."""
    runs = by_seed(lines)
    log, own = (series([x[key] for x in runs], 1) for key in ("log_return", "return"))
    shares = series([100 * x["stayed"] for x in runs])
    seeds, goals = series([x["seed"] for x in runs]), runs[0]["goals"]
    return (
        f"Of seeds {seeds} the log's episodes return {log}; agents that have not moved the arm yet "
        f"return {own} on {goals} goals that nobody learned from, and arrive at {shares} % of them."
    )


def reach(lines: Lines) -> str:
    """How often the arm arrives that learned on it from nothing."""
    runs = by_seed(lines)
    shares = series([100 * x["reached"] for x in runs], 1, last=" and ")
    minutes = fmean(x["cpu_minutes"] for x in runs)
    return (
        f"`{runs[0]['config']}` comes to {shares} % of {runs[0]['episodes']} goals after "
        f"{runs[0]['ticks']:,} ticks, {runs[0]['minutes_of_robot_time']:.0f} minutes of robot time "
        f"and {minutes:.0f} of a CPU"
    )


def reach_in_short(lines: Lines) -> str:
    """The same, in fewer words."""
    runs = by_seed(lines)
    shares = series([100 * x["reached"] for x in runs], 1, last=" and ")
    return f"comes to {shares} % (seeds {series([x['seed'] for x in runs])})"


def unpenalised(lines: Lines) -> str:
    """The same without the penalty."""
    return f"Without the penalty seed 0 returns {by_seed(lines)[0]['return']:.1f}"


def doubt_blind(lines: Lines) -> str:
    """What disagreement knows where members do not read what was unexpected lately."""
    found = [x["found"] for x in by_seed(lines)]
    payloads, stuck = (
        [each[name]["disagreement"] for each in found for name in each if name.startswith(kind)]
        for kind in ("payload", "stuck")
    )
    return (
        f"a stuck joint with {min(stuck):.3f} to {max(stuck):.3f} "
        f"and a payload with {min(payloads):.3f} to {max(payloads):.3f}, whatever it weighs"
    )


def narrow(lines: Lines) -> str:
    """From a log of an arm whose base was all but held, with and without the penalty."""
    by = [by_seed([x for x in lines if x["penalty"] == penalty]) for penalty in (1.0, 0.0)]
    log = series([x["log_return"] for x in by[0]], 1)
    own = [series([x["return"] for x in runs], 1) for runs in by]
    shares = [series([100 * x["stayed"] for x in runs], 1) for runs in by]
    seeds, goals = series([x["seed"] for x in by[0]]), by[0][0]["goals"]
    return (
        f"Of seeds {seeds} this log returns {log}; agents return {own[0]} with the penalty, and "
        f"arrive at {shares[0]} % of {goals} such goals; without it {own[1]}, and {shares[1]} %."
    )


def bounded(lines: Lines) -> str:
    """From the same log with actions no larger than the log's, without the penalty."""
    runs = by_seed(lines)
    own = series([x["return"] for x in runs], 1)
    shares = series([100 * x["stayed"] for x in runs], 1)
    return f"agents without the penalty return {own}, and arrive at {shares} %"


def believed(lines: Lines) -> str:
    """What a model of that log believes of moving the base, far from a goal."""
    runs = by_seed(lines)
    came, hoped, doubt, usual = (
        fmean(x[who][what] for x in runs)
        for who, what in (
            ("base", "came"),
            ("base", "believed"),
            ("base", "doubt"),
            ("program", "doubt"),
        )
    )
    return (
        f"a tick with the base at full speed pays {came:.2f} and the model believes in {hoped:.2f} "
        f"(mean of {len(runs)} seeds), but its members are {doubt:.2f} deviations apart there, and "
        f"{usual:.2f} where the program acts"
    )


def aimless(lines: Lines) -> str:
    """From a log of random motion, with and without the penalty."""
    found = last(lines, "penalty")
    own = series([found[p,]["return"] for p in (1.0, 0.0)], 1, last=" and ")
    run = found[1.0,]
    minutes = run["rows"] / 1200
    return (
        f"from {minutes:.0f} minutes of random actions, each held for {run['hold']} ticks, agents "
        f"return {own} with and without the penalty (the log {run['log_return']:.1f})"
    )


def on_ray(lines: Lines) -> str:
    """Actors that were killed: how soon they were back, and what the replay held."""
    run = lines[-1]
    assert run["rows_in_replay"] == run["rows_logged"], "say how many rows were not taken"
    each, took = run["kills"] // run["actors"], run["seconds_until_it_went_on"]
    return (
        f"{run['actors']} actors were killed {each} times each; they went on after {min(took):.0f} "
        f"to {max(took):.0f} s, and the replay held all of their {sum(run['rows_logged']):,} rows"
    )


# ---------------------------------------------------------------- speed


def update_in_short(lines: Lines) -> str:
    """All updates of DreamerV3, both sizes and precisions."""
    ratios = [x["ratio"]["pixyz"] for x in last(lines, "size", "precision").values()]
    low, high = min(ratios), max(ratios)
    return f"an update takes {low:.2f} to {high:.2f} of the time of the best form by hand"


def memory(lines: Lines) -> str:
    ends = {
        case: [x["evaluations"][-1][1] for x in lines if x["case"] == case]
        for case in ("rssm", "rssm_64", "sac")
    }
    drawn, seeds = ends["rssm_64"][0], series(sorted(ends["rssm"]), 2, " and ")
    return (
        f"`dreamer_v3/memory` reaches {seeds} (three seeds; 1 is the best), with 8 choices of 8 "
        f"drawn at each step in the place of 2 of 2 it reaches "
        f"{drawn:.2f}, and `sac/small`, which has no memory, {ends['sac'][0]:.2f}"
    )


def torchrl(lines: Lines) -> str:
    found = last([x for x in lines if "torchrl" in x["benchmark"]], "benchmark")
    words = []
    for name in ("torchrl_update", "torchrl_action"):
        line = found[(name,)]
        low, high = line["quartiles"]["torchrl"]
        words.append(f"{line['ratio']['torchrl']:.2f} ({low:.2f} to {high:.2f})")
    return (
        f"its update takes {words[0]} times the CPU time of ours, an action for one environment "
        f"{words[1]} times"
    )


def acting_beside(lines: Lines) -> str:
    """This tree's times of an action to those of another."""
    line = [x for x in lines if x["benchmark"] == "acting_beside"][-1]
    found = [line["ratio"][f"agent.act {part}"] for part in ("p50", "p99")]
    return f"{found[0]:.2f} (p50) and {found[1]:.2f} (p99) of it, {line['rounds']} rounds in turn"


def acting_compiled(lines: Lines) -> str:
    """An action by compiled code, in milliseconds and beside one that is not compiled."""
    line = [x for x in lines if x["benchmark"] == "acting_compiled"][-1]
    taken, ratio = line["milliseconds"], line["ratio"]
    p50, p99 = (median(taken[f"agent.act compiled {part}"]) for part in ("p50", "p99"))
    return (
        f"{p50:.2f} (p50) and {p99:.2f} (p99), which is {ratio['agent.act p50']:.2f} and "
        f"{ratio['agent.act p99']:.2f} of what it takes as it is"
    )


def plan_compiled(lines: Lines) -> str:
    """An action by a plan, compiled, beside one that is not."""
    line = [x for x in lines if x["benchmark"] == "tdmpc_plan" and "compiled" in x["ratio"]][-1]
    act, fast = (1e3 * line["cpu_seconds"][name] for name in ("act", "compiled"))
    return f"{act:.1f} ms as it is and {fast:.1f} ms compiled"


def update_compiled(lines: Lines) -> str:
    """An update of TD-MPC beside the form by hand."""
    line = [x for x in lines if x["benchmark"] == "tdmpc_update" and "compiled" in x["ratio"]][-1]
    fast, declared = line["ratio"]["compiled"], line["ratio"]["pixyz"]
    return f"takes {fast:.2f} of the form by hand where it takes {declared:.2f} as it is"


def acting(lines: Lines) -> str:
    """Milliseconds an action."""
    told = [x for x in lines if x["benchmark"] == "acting"][-1]["milliseconds"]
    (a, b), (c, d) = ((told[k]["p50"], told[k]["p99"]) for k in ("agent.act", "policy.act"))
    return (
        f"`agent.act` {a:.2f} (p50) and {b:.2f} (p99); `agents.load(run).act`, which checks the "
        f"observation and converts units, {c:.2f} and {d:.2f}"
    )


def compiled(kind: str) -> Callable[[Lines], str]:
    """Ratios with compiled loops, or with all compiled."""

    def says(lines: Lines) -> str:
        found = last([x for x in lines if f"pixyz_{kind}" in x["ratio"]], "benchmark", "size")
        pairs = {
            what: [found[what, size]["ratio"][f"pixyz_{kind}"] for size in ("size1m", "small")]
            for what in ("world_model_step", "update")
        }
        one, two = (f"{a:.2f} and {b:.2f}" for a, b in pairs.values())
        if kind == "whole":
            return f"in one to two minutes more, it is {two}"
        return f"takes {one} of the best eager form, a whole update of DreamerV3 {two}"

    return says


def tiny(lines: Lines) -> str:
    """A VAE of 16 units against other libraries."""
    found = last(lines, "size")["tiny",]
    r, ms = found["ratio"], 1000 * found["cpu_seconds"]["pixyz"]

    def pair(one: str, two: str) -> str:
        return f"{r[one]:.1f} ({r[two]:.1f})"

    by_hand = f"{r['pyro']:.1f} ({r['pyro_novalidate']:.1f}) and {pair('old', 'old_novalidate')}"
    return (
        f"takes {ms:.1f} ms, a third of it Adam's as torch makes it by default, which every "
        "contender pays. With one fused Adam on both sides (what `Model` takes where it can) "
        "Pyro takes "
        f"{r['pyro_fused/pixyz_fused']:.1f} ({r['pyro_fused_novalidate/pixyz_fused']:.1f} without "
        "validation) and pixyz 0.3.3 "
        f"{pair('old_fused/pixyz_fused', 'old_fused_novalidate/pixyz_fused')} times as long; "
        f"with the default Adam on both sides {pair('pyro/pixyz', 'pyro_novalidate/pixyz')} and "
        f"{pair('old/pixyz', 'old_novalidate/pixyz')}, where the code by hand is itself only "
        f"{by_hand} times faster than they. Compiled (`loss.compile(whole=True)`) and with the "
        "default Adam on both sides it is "
        f"{pair('pyro/pixyz_compiled', 'pyro_novalidate/pixyz_compiled')} and "
        f"{pair('old/pixyz_compiled', 'old_novalidate/pixyz_compiled')}"
    )


def unshared(lines: Lines) -> str:
    """Without sharing, at the sizes of the paper."""
    ratios = [
        x["ratio"]["pixyz_unshared"] for (size,), x in last(lines, "size").items() if size != "tiny"
    ]
    return f"a VAE's encoder runs twice: {min(ratios):.1f} to {max(ratios):.1f} times the time"


def dmm_against_pyro(lines: Lines) -> str:
    """The DMM at the paper's batch."""
    found = last(lines, "size")
    ratios = [found[size,]["ratio"]["pyro/pixyz"] for size in ("z20", "z50", "z100")]
    z500 = found["z500",]["ratio"]
    return (
        f"At a batch of 128 it is {min(ratios):.1f} to {max(ratios):.1f} times as fast up to "
        "z 100. At z 500, where matrix products are nearly all, it is "
        f"{z500['pyro/pixyz']:.1f} times as fast, compiled {z500['pyro/pixyz_compiled']:.1f} "
        f"times; code by hand reaches {z500['pyro']:.1f}"
    )
