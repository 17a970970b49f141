#!/bin/sh
# Appends a signal to a log that Steelyard reads, in a language without any library: if the last of
# the prices lies above their mean, a buy, else a sell, the surer the farther it is from it.
# Call it once per bar: log_signals.sh SYMBOL PRICES LOG, PRICES a file with one close per line.
set -eu
symbol=$1 prices=$2 log=$3
[ -s "$log" ] || echo symbol,timestamp,side,confidence,distance > "$log"
awk -v symbol="$symbol" -v now="$(date -u +%Y-%m-%dT%H:%M:%SZ)" '
	{ sum += $1; squares += $1 * $1; last = $1 }
	END {
		mean = sum / NR
		deviation = sqrt(squares / NR - mean * mean)
		if (deviation == 0) exit
		distance = (last - mean) / deviation
		size = distance < 0 ? -distance : distance
		confidence = 50 + 20 * size
		if (confidence > 100) confidence = 100
		side = distance < 0 ? "sell" : "buy"
		printf "%s,%s,%s,%.1f,%.4f\n", symbol, now, side, confidence, distance
	}
' "$prices" >> "$log"
tail -1 "$log"
