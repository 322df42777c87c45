"""A notebook as a script: what an analyst does with a plan. Cells start at ``# %%`` (Jupyter, VS Code, Spyder)."""

# %% [markdown]
# # How far from one country, and at what price?

# %%
from pathlib import Path

from optimizer import load_case, optimize

case = load_case("small")
plan = optimize(case, out="runs/base")
plan  # a notebook shows it: the answer and the mix

# %% The mix, today beside the plan; the flows from mine to market
mix = plan.plot.mix()
flows = plan.plot.sankey("lithium")
print(f"{len(mix.data)} bars, {len(flows.data[0].link.value)} bands")

# %% What tighter limits on one country cost
tighter = {limit: optimize(case, {"rules.one_country.max": limit}) for limit in (0.5, 0.4, 0.3, 0.2)}
for limit, found in tighter.items():
    print(f"at most {limit:.0%} from one country: {found.status}, {found.objective_usd or float('nan'):,.0f} USD")

# %% Cost against concentration
chart = plan.plot.frontier(measure="hhi_country")
print([f"{trace.name}: HHI {trace.x[0]:.2f}, {trace.y[0]:,.0f} USD" for trace in chart.data])

# %% For the meeting
from optimizer.export import export
from optimizer.report import report

page = report(["runs/base"], "meeting.html")
export("runs/base", "plan.xlsx", force=True)
print(page, Path("plan.xlsx").stat().st_size > 0)
