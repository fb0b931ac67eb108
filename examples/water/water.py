"""The model of the example: finds hours in which a pipe carries an unusual amount of water."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import Any

from river import anomaly, compose, preprocessing, stats

from dataflow import Context


class Anomaly:
    """Scores each reading against what it has learned from those before, then learns from it.

    It looks at the flow and at how far the flow is from the same hour of the days before. The model lives in the
    memory of one process and learns in the order of arrival, so this worker runs as a single process.
    """

    def setup(self, context: Context, threshold: float, learn_first: int) -> None:
        """Build the model. Scores count as anomalies above `threshold`, once `learn_first` readings were seen."""
        self.threshold = threshold
        self.learn_first = learn_first
        self.seen = 0
        self.usual: dict[int, stats.EWMean] = defaultdict(lambda: stats.EWMean(0.3))
        self.model = compose.Pipeline(
            preprocessing.MinMaxScaler(),
            anomaly.HalfSpaceTrees(n_trees=25, height=8, window_size=168, seed=42),
        )
        context.logger.info("model is ready")

    def handle(self, message: dict[str, Any]) -> dict[str, Any]:
        """Score one reading: {rec_id, ts, flow} becomes {rec_id, ts, flow, expected, score, anomaly}."""
        ts: datetime = message["ts"]
        flow: float = message["flow"]
        hour = self.usual[ts.hour]
        expected = hour.get() or flow
        features = {"flow": flow, "residual": flow - expected}
        score = self.model.score_one(features)
        self.model.learn_one(features)
        hour.update(flow)
        self.seen += 1
        return {
            "rec_id": message["rec_id"],
            "ts": ts,
            "flow": flow,
            "expected": expected,
            "score": score,
            "anomaly": self.seen > self.learn_first and score > self.threshold,
        }
