"""Does the method do what it claims?  Ablations, guidance against chance, R-score against truth, and two baselines.

`python -m libs.studies --davis-root ... --out results/studies` plays many rounds of the light DAVIS loop
(`libs.studies.play`) and writes one page with the tables.  Every finished run is kept, so a killed study goes on.
"""
