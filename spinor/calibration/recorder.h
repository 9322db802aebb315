// Samples that go through a layer side by side, and are seen one after the other.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "spinor/calibration/collector.h"

namespace spinor::calibration {

class Recorder : public runtime::LayerWatcher {
 public:
  explicit Recorder(Collector& collector) : collector_(collector) {}

  // What the collector wants of one sample, in the order it came.
  struct Seen {
    const runtime::Linear* linear;  // null: the keys and values of
    std::string attention;
    at::Tensor first, second;  // x and y, or keys and values
  };
  using Sample = std::vector<Seen>;

  // What the calling thread runs goes to this sample until the end of `run`. Copies: a layer may change what it has
  // shown.
  template <typename Run>
  void record(Sample& sample, Run run) {
    const Recording recording(sample);
    run();
  }
  void replay(const Sample& sample);

  void made(const runtime::Linear& linear) override { collector_.made(linear); }
  void linear(const runtime::Linear& linear, const at::Tensor& x, const at::Tensor& y) override;
  bool needs_output(const runtime::Linear& linear) const override { return collector_.needs_output(linear); }
  void cache(const std::string& attention, const at::Tensor& keys, const at::Tensor& values) override;
  bool wants_all_tokens() const override { return collector_.wants_all_tokens(); }

 private:
  // Of the calling thread; inputs are copied once for all linears that read them.
  struct Recording {
    explicit Recording(Sample& into) : sample(into) { current = this; }
    ~Recording() { current = nullptr; }
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;

    Sample& sample;
    std::vector<std::pair<at::Tensor, at::Tensor>> copies = {};  // of which tensor

    static thread_local Recording* current;
  };
  static at::Tensor copy_of(const at::Tensor& x);

  Collector& collector_;
};

}  // namespace spinor::calibration
