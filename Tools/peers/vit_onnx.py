# SPDX-License-Identifier: Apache-2.0
"""A vision transformer of transformers' ViTForImageClassification as ONNX: float32, and int8 by
ONNX Runtime's own quantizers."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file


class Graph:
    """Nodes and constants of a graph that is being written."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, array):
        self.constants.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def node(self, kind, *inputs, outputs=None, **attributes):
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), outputs or [name], name, **attributes))
        return name

    def linear(self, x, name, weight, bias):
        """`weight` [outputs][inputs]."""
        product = self.node("MatMul", x, self.constant(name + ".weight", weight.T))
        return self.node("Add", product, self.constant(name + ".bias", bias))


def exported(folder, path):
    """Writes folder's model as ONNX: input `x` [1][3][side][side] float32, output `scores`."""
    config = json.loads((folder / "config.json").read_text())
    tensors = {name: array.astype(np.float32)
               for name, array in load_file(folder / "model.safetensors").items()}
    d, heads, side = config["hidden_size"], config["num_attention_heads"], config["image_size"]
    patch, epsilon = config["patch_size"], config["layer_norm_eps"]
    patches = (side // patch) ** 2
    g = Graph()

    def norm(x, name):
        return g.node("LayerNormalization", x, g.constant(name + ".gamma", tensors[name + ".weight"]),
                      g.constant(name + ".beta", tensors[name + ".bias"]), axis=-1, epsilon=epsilon)

    def linear(x, name):
        return g.linear(x, name, tensors[name + ".weight"], tensors[name + ".bias"])

    e = "vit.embeddings."
    x = g.node("Conv", "x", g.constant("patch.weight", tensors[e + "patch_embeddings.projection.weight"]),
               g.constant("patch.bias", tensors[e + "patch_embeddings.projection.bias"]),
               kernel_shape=[patch, patch], strides=[patch, patch])
    x = g.node("Reshape", x, g.constant("rows", np.array([1, d, patches])))
    x = g.node("Transpose", x, perm=[0, 2, 1])
    x = g.node("Concat", g.constant("class", tensors[e + "cls_token"]), x, axis=1)
    x = g.node("Add", x, g.constant("positions", tensors[e + "position_embeddings"]))
    g.constant("heads", np.array([1, patches + 1, 3, heads, d // heads]))
    g.constant("joined", np.array([1, patches + 1, d]))
    g.constant("scale", np.array((d // heads) ** -0.5, np.float32))
    g.constant("axis", np.array([0]))
    for layer in range(config["num_hidden_layers"]):
        p = f"vit.encoder.layer.{layer}."
        # q, k and v in one product.
        parts = [p + f"attention.attention.{name}" for name in ("query", "key", "value")]
        rows = g.linear(norm(x, p + "layernorm_before"), p + "qkv",
                        np.concatenate([tensors[part + ".weight"] for part in parts]),
                        np.concatenate([tensors[part + ".bias"] for part in parts]))
        rows = g.node("Transpose", g.node("Reshape", rows, "heads"), perm=[2, 0, 3, 1, 4])
        names = [f"{p}{name}" for name in "qkv"]
        g.node("Split", rows, outputs=[n + "5" for n in names], axis=0, num_outputs=3)
        q, k, v = (g.node("Squeeze", n + "5", "axis") for n in names)
        scores = g.node("MatMul", g.node("Mul", q, "scale"), g.node("Transpose", k, perm=[0, 1, 3, 2]))
        mixed = g.node("MatMul", g.node("Softmax", scores, axis=-1), v)
        mixed = g.node("Reshape", g.node("Transpose", mixed, perm=[0, 2, 1, 3]), "joined")
        x = g.node("Add", x, linear(mixed, p + "attention.output.dense"))
        inner = g.node("Gelu", linear(norm(x, p + "layernorm_after"), p + "intermediate.dense"))
        x = g.node("Add", x, linear(inner, p + "output.dense"))
    x = g.node("Gather", norm(x, "vit.layernorm"), g.constant("first", np.array(0)), axis=1)
    g.node("Identity", linear(x, "classifier"), outputs=["scores"])
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        g.nodes, "vit", [value("x", TensorProto.FLOAT, [1, 3, side, side])],
        [value("scores", TensorProto.FLOAT, [1, len(config["id2label"])])], g.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def quantized(folder, float32, images):
    """Files of int8 models made from `float32`: a name and path of each. `images` [n][1][3][s][s]
    calibrate the static one."""
    from onnxruntime.quantization import (CalibrationDataReader, QuantFormat, QuantType,
                                          quantize_dynamic, quantize_static)
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared = folder / "prepared.onnx"
    quant_pre_process(float32, prepared, skip_symbolic_shape=True)  # shapes are fixed
    files = {"onnx_dynamic_int8": folder / "dynamic.onnx", "onnx_static_int8": folder / "static.onnx"}
    quantize_dynamic(prepared, files["onnx_dynamic_int8"], weight_type=QuantType.QInt8,
                     per_channel=True)

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rest = iter({"x": image} for image in images)

        def get_next(self):
            return next(self.rest, None)

    quantize_static(prepared, files["onnx_static_int8"], Reader(), quant_format=QuantFormat.QDQ,
                    per_channel=True, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
                    op_types_to_quantize=["MatMul", "Conv", "Gemm"])
    return files


def normalized(folder, pixels):
    """Pixels [side][side][3] as the model's input, [1][3][side][side] float32."""
    config = json.loads((Path(folder) / "preprocessor_config.json").read_text())
    mean, deviation = np.array(config["image_mean"]), np.array(config["image_std"])
    x = (pixels * config["rescale_factor"] - mean) / deviation
    return np.ascontiguousarray(x.transpose(2, 0, 1)[None], np.float32)
