"""Writes the compact cases out of the shared ones; run as ``python -m tests.golden.make_compact``."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

from tests.golden import compact, shared
from tests.golden.cases import Call

#: Case -> the calls that are kept, each with the sample of its batch that is kept (all of them where None).
KEPT: dict[str, dict[str, int | None]] = {
    "01d_adatad_anet_resize": {"batch": 0},
    "03_pbd_student": {"batch": 1},
    "05_opentad_actionformer_i3d": {"batch": None, "varlen_100": None},
    "06_actionformer_original": {"len100": None, "train": None},
}
#: Case -> the same model after a merge, and the weights of it that are kept.
MERGED = {"03_pbd_student": ("08_lora_merge/student_merge.pth", ("blocks.0.attn.qkv.weight", "blocks.0.attn.proj.weight"))}
#: Kept of the outputs; proposals follow from them.
OUTPUTS = ("backbone_feature", "cls_logit_l", "reg_offset_l", "mask_l")
SCORE_THRESHOLD = 0.001


def lightened(call: Call) -> Call:
    """With EMA weights only."""
    outputs = {kind: {key: value for key, value in found.items() if key.startswith(OUTPUTS)} for kind, found in call.outputs.items()}
    return replace(call, **{part: {kind: item for kind, item in found.items() if kind == "ema"}
                            for part, found in (("outputs", outputs), ("losses", call.losses))})


def one_sample(call: Call, sample: int) -> Call:
    """One sample of a batch; the losses, and detections over several windows, cannot be had from it."""
    found, place = call.outputs["ema"], call.places[sample]
    outputs = {"ema": {key: value[sample : sample + 1] for key, value in found.items()
                       if key.startswith(OUTPUTS)}}
    windows, final = {place.video: call.windows[place.video]}, {place.video: call.final[place.video]}
    if sum(other.video == place.video for other in call.places) > 1:
        ends = [0, *accumulate(int((found[f"scores_b{index}"] > SCORE_THRESHOLD).sum()) for index in range(len(call.places)))]
        assert ends[-1] == len(windows[place.video])
        windows, final = {place.video: windows[place.video].take(slice(ends[sample], ends[sample + 1]))}, {}
    return Call(call.inputs[sample : sample + 1], call.masks[sample : sample + 1], outputs, [place], windows, final)


def main() -> None:
    families = shared.families()
    for name, kept in KEPT.items():
        case = shared.open_case(name)
        calls = {key: lightened(case.calls[key]) if sample is None else one_sample(case.calls[key], sample) for key, sample in kept.items()}
        path, ends = MERGED.get(name, ("", ()))
        merged = {key: value for key, value in shared.weights(path).items() if key.endswith(ends)} if path else {}
        checkpoint = shared.read_json(name)["checkpoint_file"]
        compact.store(replace(case, calls=calls), families[name], shared.weights(f"{name}/{checkpoint}"), merged)


if __name__ == "__main__":
    main()
