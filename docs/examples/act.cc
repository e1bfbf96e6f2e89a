/* Acts with an exported policy from C++: no Python, no Bazel, no TensorFlow sources.

Build, with g++ and the Python that has TensorFlow (no space in its path):

    g++ -O2 docs/examples/act.cc -o act $(
      python -c "import tensorflow as tf; s = tf.sysconfig; print(
        *s.get_compile_flags(), *s.get_link_flags(),
        '-l:libtensorflow_cc.so.2', '-Wl,-rpath,' + s.get_lib())")

Run, with the folder that launch/export.py wrote and the numbers of one observation:

    TF_CPP_MIN_LOG_LEVEL=3 ./act exported 0.1 -0.2 0.3

It prints {"action": [...], "q_value": ..., "value": ...}, the action in the units
of the environment, and on stderr the median time of 200 further calls. The variable
hides TensorFlow's log, which starts before main(); failures are told all the same.
Exit codes: 0 done, 1 failed, 2 wrong usage.
*/
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "tensorflow/c/c_api.h"
// The C API gives a model's signatures as protobuf bytes; this class reads them. The
// customary names (StatefulPartitionedCall:0) change with the number of signatures.
#include "tensorflow/core/protobuf/meta_graph.pb.h"

struct Delete {
  void operator()(TF_Buffer* x) const { TF_DeleteBuffer(x); }
  void operator()(TF_Graph* x) const { TF_DeleteGraph(x); }
  void operator()(TF_SessionOptions* x) const { TF_DeleteSessionOptions(x); }
  void operator()(TF_Status* x) const { TF_DeleteStatus(x); }
  void operator()(TF_Tensor* x) const { TF_DeleteTensor(x); }
  void operator()(TF_Session* x) const {
    std::unique_ptr<TF_Status, Delete> ignored(TF_NewStatus());
    TF_DeleteSession(x, ignored.get());
  }
};
template <typename T>
using Owned = std::unique_ptr<T, Delete>;
using Floats = std::vector<float>;

void Require(bool holds, const std::string& message) {
  if (!holds) throw std::runtime_error(message);
}

void Check(const Owned<TF_Status>& status, const std::string& what) {
  Require(TF_GetCode(status.get()) == TF_OK, what + ": " + TF_Message(status.get()));
}

class Policy {
 public:
  explicit Policy(const std::string& folder) {
    Owned<TF_Status> status(TF_NewStatus());
    Owned<TF_SessionOptions> options(TF_NewSessionOptions());
    Owned<TF_Buffer> bytes(TF_NewBuffer());
    const char* tag = "serve";
    session_.reset(TF_LoadSessionFromSavedModel(options.get(), nullptr, folder.c_str(),
                                                &tag, 1, graph_.get(), bytes.get(),
                                                status.get()));
    Check(status, "cannot load " + folder);
    tensorflow::MetaGraphDef meta;
    Require(meta.ParseFromArray(bytes->data, static_cast<int>(bytes->length)),
            "cannot read the signatures of " + folder);
    const auto found = meta.signature_def().find("serving_default");
    Require(found != meta.signature_def().end(),
            folder + " has no signature serving_default");
    const auto& inputs = found->second.inputs();
    const auto& outputs = found->second.outputs();
    input_ = Find(inputs, "observation");
    outputs_ = {Find(outputs, "action"), Find(outputs, "q_value"),
                Find(outputs, "value")};
    const auto& shape = inputs.at("observation").tensor_shape();  // [B, D]
    if (shape.dim_size() == 2) size_ = shape.dim(1).size();
  }

  // Returns the action, its Q and the state's V.
  std::array<Floats, 3> operator()(const Floats& observation) const {
    const int64_t shape[] = {1, static_cast<int64_t>(observation.size())};
    Require(size_ == -1 || size_ == shape[1],
            "found " + std::to_string(shape[1]) +
                " numbers for the observation, the model expects " +
                std::to_string(size_));
    Owned<TF_Tensor> input(
        TF_AllocateTensor(TF_FLOAT, shape, 2, observation.size() * sizeof(float)));
    std::copy(observation.begin(), observation.end(),
              static_cast<float*>(TF_TensorData(input.get())));
    TF_Tensor* fed = input.get();
    TF_Tensor* fetched[3] = {};
    Owned<TF_Status> status(TF_NewStatus());
    TF_SessionRun(session_.get(), nullptr, &input_, &fed, 1, outputs_.data(), fetched,
                  3, nullptr, 0, nullptr, status.get());
    std::array<Floats, 3> results;
    for (int i = 0; i < 3; ++i) {
      Owned<TF_Tensor> output(fetched[i]);
      if (!output) continue;  // The call failed.
      const auto* first = static_cast<const float*>(TF_TensorData(output.get()));
      results[i].assign(first, first + TF_TensorElementCount(output.get()));
    }
    Check(status, "the model failed");
    return results;
  }

 private:
  template <typename TensorInfos>
  TF_Output Find(const TensorInfos& infos, const std::string& key) const {
    const auto info = infos.find(key);
    Require(info != infos.end(), "serving_default has no tensor " + key);
    Require(info->second.dtype() == tensorflow::DT_FLOAT, key + " is not float32");
    const std::string& name = info->second.name();  // "operation:index"
    const size_t colon = name.find(':');
    TF_Operation* operation =
        TF_GraphOperationByName(graph_.get(), name.substr(0, colon).c_str());
    Require(operation && colon != name.npos, "the graph has no tensor " + name);
    return {operation, std::stoi(name.substr(colon + 1))};
  }

  Owned<TF_Graph> graph_{TF_NewGraph()};  // Above the session, which must go first.
  Owned<TF_Session> session_;
  TF_Output input_;
  std::array<TF_Output, 3> outputs_;
  int64_t size_ = -1;
};

double MedianMicroseconds(const Policy& policy, const Floats& observation) {
  std::vector<double> times(200);
  for (double& time : times) {
    const auto start = std::chrono::steady_clock::now();
    policy(observation);
    const auto taken = std::chrono::steady_clock::now() - start;
    time = std::chrono::duration<double, std::micro>(taken).count();
  }
  std::nth_element(times.begin(), times.begin() + 100, times.end());
  return times[100];
}

int main(int argc, char** argv) try {
  Floats observation;
  for (int i = 2; i < argc; ++i) {
    char* end;
    observation.push_back(std::strtof(argv[i], &end));
    if (end != argv[i] && !*end && std::isfinite(observation.back())) continue;
    std::fprintf(stderr, "act: not a finite number: '%s'\n", argv[i]);
    return 2;
  }
  if (observation.empty()) {
    std::fprintf(stderr, "usage: act MODEL_DIR NUMBER [NUMBER ...]\n");
    return 2;
  }
  const Policy policy(argv[1]);
  const auto [action, q_value, value] = policy(observation);
  std::printf("{\"action\": [");
  for (size_t i = 0; i < action.size(); ++i)
    std::printf("%s%.9g", i ? ", " : "", action[i]);
  std::printf("], \"q_value\": %.9g, \"value\": %.9g}\n", q_value.at(0), value.at(0));
  std::fprintf(stderr, "median of 200 calls: %.0f microseconds\n",
               MedianMicroseconds(policy, observation));
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "act: %s\n", error.what());
  return 1;
}
