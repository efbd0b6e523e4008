# Counts the crops of each class in each set: out/balance.csv for people, out/metrics.json for
# the table of a matrix and for `sandwich diff`.
set -eu

# The rows of split.csv, without its header: crops/<class>/<file>,<class>,<image>,<set>
awk -F, 'NR > 1 { n[$2 "," $4]++ } END { for (k in n) print k "," n[k] }' split/split.csv | sort > out/counts

{ echo "class,set,crops"; cat out/counts; } > out/balance.csv
awk -F, '{ n[$1] += $3; if (n[$1] > most) most = n[$1] }
  END { least = most; for (c in n) if (n[c] < least) least = n[c]; printf "{\"classes\": %d, \"least_to_most\": %.4f}\n", length(n), least / most }' \
  out/counts > out/metrics.json
rm out/counts

cat out/balance.csv
