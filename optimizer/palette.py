"""Colours of charts, told apart by colour-blind readers and legible on white and on near-black."""

from __future__ import annotations

# After Okabe and Ito (2008), "Color Universal Design": told apart with every common form of colour blindness.
GREEN, SKY, YELLOW, VERMILION, BLUE, PURPLE, GREY = (
    "#009E73", "#56B4E9", "#E0B000", "#D55E00", "#3B82C4", "#CC79A7", "#8A8F98",
)  # fmt: skip

CHANNEL_COLOURS = {"domestic": GREEN, "allied": SKY, "recycling": YELLOW, "incumbent": VERMILION}
PLAN, TODAY = BLUE, GREY
RUNS = (BLUE, VERMILION, GREEN, PURPLE, YELLOW, SKY)  # several runs side by side
