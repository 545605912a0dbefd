"""The gRPC interface, with the client of tensorflow-serving-api, and versions that come and go."""
import shutil
import socket
import time

import numpy as np
import pytest
import requests

from tests import hostile
from tests.bad_requests import b64, bomb, encoded
from tests.test_serve import metric, predict, serving

pytest.importorskip("starlette", reason="the server needs its extra: pip install '.[serve]'")
grpc = pytest.importorskip("grpc", reason="pip install '.[grpc]'")
pytest.importorskip("tensorflow_serving", reason="pip install '.[grpc]'")


@pytest.fixture(scope="module")
def folder(exported, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "digits"
    shutil.copytree(exported[0], folder / "1")
    return folder


@pytest.fixture(scope="module")
def server(folder):
    """The addresses of the REST and the gRPC interface, and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with serving(folder, "--grpc-port", str(port)) as (address, process):
        yield address.split(" ")[0], f"127.0.0.1:{port}", process


@pytest.fixture(scope="module")
def stubs(server):
    from tensorflow_serving.apis import model_service_pb2_grpc, prediction_service_pb2_grpc
    with grpc.insecure_channel(server[1]) as channel:
        yield (prediction_service_pb2_grpc.PredictionServiceStub(channel),
               model_service_pb2_grpc.ModelServiceStub(channel))


def request(signature="", version=None, outputs=(), name="digits", **inputs):
    import tensorflow as tf
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow_serving.apis import predict_pb2
    message = predict_pb2.PredictRequest(output_filter=outputs)
    message.model_spec.name, message.model_spec.signature_name = name, signature
    if version is not None:
        message.model_spec.version.value = version
    for key, value in inputs.items():
        if not isinstance(value, TensorProto):
            value = tf.make_tensor_proto(value)
        message.inputs[key].CopyFrom(value)
    return message


def test_predict_gives_what_rest_gives(server, stubs, test_images):
    import tensorflow as tf
    images = test_images[:40].astype("float32")
    response = stubs[0].Predict(request(image=images), timeout=60)
    outputs = {name: tf.make_ndarray(value) for name, value in response.outputs.items()}
    rest = predict(server[0], {"inputs": images.astype(int).tolist()}, "digits").json()["outputs"]
    assert [label.decode() for label in outputs["label"]] == rest["label"]
    np.testing.assert_allclose(outputs["probabilities"], rest["probabilities"], atol=1e-6)
    assert set(outputs) == set(rest) and response.model_spec.version.value == 1
    files = [encoded(image) for image in test_images[:3]]
    response = stubs[0].Predict(request("from_bytes", 1, ["label"], image_bytes=files), timeout=60)
    assert list(response.outputs) == ["label"]
    assert list(tf.make_ndarray(response.outputs["label"])) == list(outputs["label"][:3])


def test_metadata_and_status(stubs):
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2
    message = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    message.model_spec.name = "digits"
    response = stubs[0].GetModelMetadata(message, timeout=60)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    image = signatures.signature_def["serving_default"].inputs["image"]
    assert [dim.size for dim in image.tensor_shape.dim] == [-1, 32, 32, 1]
    message = get_model_status_pb2.GetModelStatusRequest()
    message.model_spec.name = "digits"
    (status,) = stubs[1].GetModelStatus(message, timeout=60).model_version_status
    assert status.version == 1 and status.state == status.AVAILABLE


def bad(image):
    """Yield (request, status, words)."""
    import tensorflow as tf
    image = image.astype("float32")[None]
    yield request(name="digit", image=image), "NOT_FOUND", "Did you mean 'digits'?"
    yield request(version=7, image=image), "NOT_FOUND", "no version 7"
    yield request("serve", image=image), "INVALID_ARGUMENT", "signature"
    yield request(imag=image), "INVALID_ARGUMENT", "Did you mean 'image'?"
    yield request(), "INVALID_ARGUMENT", "image is missing"
    yield request(outputs=["labels"], image=image), "INVALID_ARGUMENT", "Did you mean 'label'?"
    yield request(image=image.astype("float64")), "INVALID_ARGUMENT", "hold float32"
    yield request(image=image[0]), "INVALID_ARGUMENT", "of shape (batch, 32, 32, 1)"
    yield request(image=image[:0]), "INVALID_ARGUMENT", "of shape"
    yield request(image=image * np.nan), "INVALID_ARGUMENT", "finite"
    yield request(image=image / 255), "INVALID_ARGUMENT", "multiply them by 255"
    yield request("from_bytes", image_bytes=[b"hello"]), "INVALID_ARGUMENT", "Expected a JPEG"
    yield request("from_bytes", image_bytes=[bomb(30_000, 30_000)]), "INVALID_ARGUMENT", "pixels"
    yield (request("from_bytes", image_bytes=[hostile.png(5000, 5000)] * 5), "RESOURCE_EXHAUSTED",
           "125,000,000")
    huge = tf.make_tensor_proto(image)
    huge.ClearField("tensor_content")
    huge.float_val.append(1)
    huge.tensor_shape.dim[0].size = 2 ** 40
    yield request(image=huge), "RESOURCE_EXHAUSTED", "tensor_content"
    short = tf.make_tensor_proto(image)
    short.tensor_content = short.tensor_content[:-1]
    yield request(image=short), "INVALID_ARGUMENT", "is no tensor"
    label = request(image=image)
    label.model_spec.version_label = "stable"
    yield label, "INVALID_ARGUMENT", "no version labels"


def test_bad_requests_get_a_status_and_one_line(stubs, test_images):
    for message, status, words in bad(test_images[0]):
        with pytest.raises(grpc.RpcError) as error:
            stubs[0].Predict(message, timeout=60)
        assert error.value.code().name == status and words in error.value.details(), error.value
    assert stubs[0].Predict(request(image=test_images[:1].astype("float32")), timeout=60)


def test_requests_are_counted(server, stubs, test_images):
    before = metric(server[0], "zoo_requests_total")
    stubs[0].Predict(request(image=test_images[:1].astype("float32")), timeout=60)
    assert metric(server[0], "zoo_requests_total") == before + 1


@pytest.mark.slow
def test_versions_that_come_and_go_are_followed(server, folder, test_images):
    """No request fails meanwhile; a version that cannot be loaded is left out."""
    def newest():
        body = {"instances": test_images[:1].tolist()}
        assert predict(server[0], body, "digits").status_code == 200
        states = requests.get(f"{server[0]}/v1/models/digits", timeout=60).json()
        return int(states["model_version_status"][0]["version"])

    def wait_for(version):
        deadline = time.monotonic() + 120
        while newest() != version:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert newest() == 1
    (folder / "3").mkdir()
    (folder / "3/saved_model.pb").write_bytes(b"half a file")
    shutil.copytree(folder / "1", folder / ".2")
    (folder / ".2").rename(folder / "2")
    wait_for(2)
    shutil.copytree(folder / "1", folder / "3", dirs_exist_ok=True)
    wait_for(3)
    shutil.rmtree(folder / "3")
    wait_for(2)
    shutil.rmtree(folder / "2")
    wait_for(1)
    assert predict(server[0], {"instances": [0]}, "digits/versions/2").status_code == 404


def test_the_port_of_another_server_is_refused(server, folder):
    port = server[1].rsplit(":", 1)[1]
    words = f"Cannot serve on 127.0.0.1 port {port}: .* choose another --grpc-port"
    with pytest.raises(AssertionError, match=words), \
            serving(folder, "--grpc-port", port):
        pass


def test_base64_without_padding_is_read(server, test_images):
    data = encoded(test_images[0])
    padded = b64(data + bytes((1 - len(data)) % 3))
    bare = {"b64": padded["b64"].removesuffix("==")}
    assert padded != bare
    body = {"signature_name": "from_bytes", "instances": [padded, bare]}
    rows = predict(server[0], body, "digits").json()["predictions"]
    assert rows[0]["label"] == rows[1]["label"]
    np.testing.assert_allclose(rows[0]["probabilities"], rows[1]["probabilities"], atol=1e-6)
