"""Servers of an ONNX file of an image network, each written as its documentation shows.

`python benchmarks/peer_servers.py fastapi|litserve|bentoml PORT`, with the file in $MODEL and the
name also in $PEER. Each takes {"image": a PNG file in Base64} and returns {"probabilities": a
list}. They run in an environment of their own, see serve_peers.py, and import nothing of the zoo.
"""

import base64
import io
import os
import subprocess
import sys

import numpy as np
import onnxruntime
from PIL import Image


class Network:
    """The network, from PNG files in Base64 to lists of probabilities."""

    def __init__(self):
        self._session = onnxruntime.InferenceSession(
            os.environ["MODEL"], providers=["CPUExecutionProvider"]
        )

    def decode(self, image):
        """Return the pixels, float32 (height, width, channels)."""
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(image))), "float32")
        return pixels if pixels.ndim == 3 else pixels[..., None]

    def run(self, images):
        """Return the probabilities of each image."""
        return self._session.run(["probabilities"], {"image": np.stack(images)})[0].tolist()


def fastapi(port):
    """https://fastapi.tiangolo.com: a path operation with def runs in a thread pool."""
    import uvicorn
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Request(BaseModel):
        image: str

    app, network = FastAPI(), Network()

    @app.post("/predict")
    def predict(request: Request):
        return {"probabilities": network.run([network.decode(request.image)])[0]}

    uvicorn.run(app, port=port, log_level="error")


if os.environ.get("PEER") == "litserve":
    import litserve

    class API(litserve.LitAPI):
        """https://lightning.ai/docs/litserve: a LitAPI that batches."""

        def setup(self, device):
            self.network = Network()

        def decode_request(self, request):
            return self.network.decode(request["image"])

        def batch(self, inputs):
            return inputs

        def predict(self, images):
            return self.network.run(images)

        def unbatch(self, output):
            return output

        def encode_response(self, output):
            return {"probabilities": output}


def litserve_server(port):
    """Run the LitAPI."""
    api = API(max_batch_size=32, batch_timeout=0.005)
    server = litserve.LitServer(api, accelerator="cpu")
    server.run(port=port, generate_client_file=False, log_level="error")


if os.environ.get("PEER") == "bentoml":
    import bentoml

    @bentoml.service
    class Bento:
        """https://docs.bentoml.com: a service with an API method."""

        def __init__(self):
            self.network = Network()

        @bentoml.api
        def predict(self, image: str) -> dict:
            return {"probabilities": self.network.run([self.network.decode(image)])[0]}


def bentoml_service(port):
    """Run the service by BentoML's command."""
    command = [sys.executable, "-m", "bentoml", "serve", "peer_servers:Bento", "--port", str(port)]
    folder = os.path.dirname(os.path.abspath(__file__))
    sys.exit(subprocess.call(command, cwd=folder))


if __name__ == "__main__":
    SERVERS = {"fastapi": fastapi, "litserve": litserve_server, "bentoml": bentoml_service}
    SERVERS[sys.argv[1]](int(sys.argv[2]))
