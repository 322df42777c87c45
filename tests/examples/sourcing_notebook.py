"""A notebook as a script: what an analyst does with a plan. Cells start at ``# %%`` (Jupyter, VS Code, Spyder)."""

# %% [markdown]
# # How far from one country, and at what price?

# %%
from pathlib import Path

from optimizer import Plans, load_case, optimize

case = load_case("small")
plan = optimize(case, out="runs/base")
plan  # a notebook shows it: the answer and the mix

# %% The mix, today beside the plan; the flows from mine to market
mix = plan.plot.mix()
flows = plan.plot.sankey("lithium")
print(f"{len(mix.data)} bars, {len(flows.data[0].link.value)} bands")

# %% What tighter limits on one country cost
limits = (0.5, 0.4, 0.3, 0.2)
found = [optimize(case, {"rules.one_country.max": limit}) for limit in limits]
plans = Plans(found, [f"at most {limit:.0%}" for limit in limits])
for name, cost in plans.costs["objective_usd"].items():
    print(f"{name} from one country: {cost:,.0f} USD")
plans  # a notebook shows them side by side

# %% Cost against concentration
chart = plans.plot.frontier(measure="hhi_country")
print([f"{trace.name}: HHI {trace.x[0]:.2f}, {trace.y[0]:,.0f} USD" for trace in chart.data])

# %% For the meeting
from optimizer.export import export
from optimizer.report import report

page = report(["runs/base"], "meeting.html")
export("runs/base", "plan.xlsx", force=True)
print(page, Path("plan.xlsx").stat().st_size > 0)
