#!/bin/sh
# Draw the cartoons that the model ferg is trained and measured on, in this folder: some 16,000 pictures, two minutes.
# The model is released with these commands inside, and its card shows them: scripts/release_model.py --made.
set -eu
mien data draw cartoons/extras --characters extra1 --extras 600 --count 12600 --seed 1
mien data draw cartoons/named --count 3150 --seed 2
mien data prepare cartoons cartoons.npz --hold-out ada,dax,gus,momo --valid bruno,chloe,edda,finn,hana
