"""Baselines of `cargo xtask bench --section learn`: LightGBM, scikit-learn and ONNX runtime on the rows that it learns from.

Prints a JSON object a line: {"lightgbm": seconds, …}. Arguments: train.csv test.csv label normal drop,drop forest.json, and
the number of threads. The forest is written as trees of this project, so that both walk the same nodes.
"""

import json
import os
import sys
import time

train, test, label, normal, drop, out, threads = sys.argv[1:]
threads = int(threads)
os.environ["OMP_NUM_THREADS"] = str(threads)

import warnings

import lightgbm
import numpy
import onnxruntime
import pandas
from skl2onnx import to_onnx
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score, roc_auc_score

warnings.filterwarnings("ignore")


def table(path):
    rows = pandas.read_csv(path)
    return rows.drop(columns=drop.split(",") + [label]), rows[label].astype(str)


(x, y), (xt, yt) = table(train), table(test)
for name in x:
    if not pandas.api.types.is_numeric_dtype(x[name]):
        kinds = pandas.CategoricalDtype(sorted(set(x[name])))
        x[name], xt[name] = x[name].astype(kinds), xt[name].astype(kinds)


def timed(work, clock=time.perf_counter):
    begun = clock()
    made = work()
    return made, clock() - begun


attack, attack_test = (y != normal).astype(int), (yt != normal).astype(int)
model, seconds = timed(lambda: lightgbm.LGBMClassifier(n_jobs=threads, verbose=-1).fit(x, attack))
_, seconds_many = timed(lambda: lightgbm.LGBMClassifier(n_jobs=threads, verbose=-1).fit(x, y))
print(json.dumps({"lightgbm": {"binary": seconds, "classes": seconds_many,
                               "auc": roc_auc_score(attack_test, model.predict_proba(xt)[:, 1])}}), flush=True)


def codes(rows):
    rows = rows.copy()
    for name in rows:
        if isinstance(rows[name].dtype, pandas.CategoricalDtype):
            rows[name] = rows[name].cat.codes
    return numpy.ascontiguousarray(rows.replace([numpy.inf, -numpy.inf], numpy.nan).fillna(-1).astype(numpy.float32))


x, xt = codes(x), codes(xt)
forest, seconds = timed(lambda: RandomForestClassifier(200, n_jobs=threads, random_state=0).fit(x, attack))
_, seconds_many = timed(lambda: RandomForestClassifier(200, n_jobs=threads, random_state=0).fit(x, y))
print(json.dumps({"scikit_learn": {"binary": seconds, "classes": seconds_many,
                                   "macro_f1": f1_score(attack_test, forest.predict(xt), average="macro")}}), flush=True)

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
graph = to_onnx(forest, xt[:1], options={"zipmap": False})
session = onnxruntime.InferenceSession(graph.SerializeToString(), options, providers=["CPUExecutionProvider"])
many = xt[:4096]
# Time of the processor, as on the other side: of one thread, as there is no other.
quickest = min(timed(lambda: session.run(None, {"X": many}), time.process_time)[1] for _ in range(30))
print(json.dumps({"onnx_ns_per_row": quickest / len(many) * 1e9}), flush=True)

nodes, roots, values = [], [], []
for tree in (e.tree_ for e in forest.estimators_):
    roots.append([len(nodes), 0])
    left, right, cover = tree.children_left, tree.children_right, tree.weighted_n_node_samples
    # Below or at the threshold of twice the exactness is below or at this one.
    cuts = tree.threshold.astype(numpy.float32)
    cuts = numpy.where(cuts > tree.threshold, numpy.nextafter(cuts, numpy.float32(-numpy.inf)), cuts)
    open_nodes = [(0, len(nodes))]
    nodes.append(None)
    while open_nodes:
        old, own = open_nodes.pop()
        if left[old] < 0:
            nodes[own] = {"Leaf": {"value": len(values), "cover": float(cover[old])}}
            values.append(float(tree.value[old][0][1]) / 200)
            continue
        nodes[own] = {"Number": {"threshold": float(cuts[old]), "feature": int(tree.feature[old]),
                                 "ahead": len(nodes) - own, "absent_right": False, "cover": float(cover[old])}}
        open_nodes += [(left[old], len(nodes)), (right[old], len(nodes) + 1)]
        nodes += [None, None]
with open(out, "w") as file:
    json.dump({"features": x.shape[1], "outputs": 1, "nodes": nodes, "roots": roots, "values": values,
               "sets": [], "words": []}, file)
