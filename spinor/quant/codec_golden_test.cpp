// What llm-compressor and compressed-tensors make of the same weights: tests/golden/make_codecs.py.
#include <gtest/gtest.h>

#include "spinor/linalg/convert.h"
#include "spinor/linalg/cpu.h"
#include "spinor/quant/golden_testing.h"
#include "spinor/quant/observers.h"
#include "spinor/quant/testing.h"

namespace spinor::codec_golden_test {
namespace {

using namespace testing_quant;

const Json& cases() {
  static const Json all = golden_cases("codecs.json");
  return all;
}

std::string digest(const std::vector<std::byte>& bytes) {
  uint64_t sum = 0;
  for (uint64_t i = 0; i < bytes.size(); ++i)
    sum += (static_cast<uint64_t>(bytes[i]) + 1) * (i * 0x9E3779B97F4A7C15 | 1);
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum));
  return text;
}

Matrix<float> weight_of(const Json& one) {
  return awkward_weight(one["shape"][0], one["shape"][1], one["seed"]);
}

class CodecGolden : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { set_cpu_level(GetParam()); }
  void TearDown() override { set_cpu_level(cpu_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Levels, CodecGolden, testing::ValuesIn(cpu_levels().begin(), cpu_levels().end()),
                         [](const auto& test) { return std::string(test.param); });

void expect_same_bytes(const Json& one, QuantizationArithmetic arithmetic) {
  const WeightLayout layout = layout_of(one);
  const auto tensors = stored_tensors(layout);
  const auto bytes = quantized(layout, weight_of(one), {}, arithmetic);
  EXPECT_EQ(tensors.size(), one["tensors"].size()) << name_of(one);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Json& expected = one["tensors"].at(tensors[i].suffix);
    EXPECT_EQ(Json(tensors[i].shape), expected["shape"]) << name_of(one) << " " << tensors[i].suffix;
    EXPECT_EQ(digest(bytes[i]), expected["digest"]) << name_of(one) << " " << tensors[i].suffix;
  }
}

TEST_P(CodecGolden, EveryTensorOfMinmaxIsThePeersBitForBit) {
  for (const Json& one : cases())
    if (one.contains("tensors")) expect_same_bytes(one, QuantizationArithmetic::peer);
}

TEST_P(CodecGolden, OnFloat32WeightsExactArithmeticIsThePeers) {
  for (const Json& one : cases())
    if (one.contains("tensors") && one["dtype"] == "float32") expect_same_bytes(one, QuantizationArithmetic::exact);
}

TEST_P(CodecGolden, DecodesToWhatThePeerDecompressesTo) {
  int64_t compared = 0;
  for (const Json& one : cases()) {
    if (!one.contains("back")) continue;
    const WeightLayout layout = layout_of(one);
    const Matrix<float> back = decoded(layout, quantized(layout, weight_of(one)));
    const DType dtype = find_dtype(one["back"]["dtype"].get<std::string>())->dtype;
    std::vector<std::byte> bytes(back.data.size() * static_cast<size_t>(info(dtype).bits / 8));
    EXPECT_TRUE(store(dtype, back.data.data(), bytes.data(), std::ssize(back.data)));
    EXPECT_EQ(digest(bytes), one["back"]["digest"]) << name_of(one);
    ++compared;
  }
  EXPECT_GT(compared, 30);
}

ObserverOptions options_of(const Json& one) {
  QuantizationArgs args;
  args.observer = one["args"]["observer"].get<std::string>();
  args.observer_kwargs = one["args"].value("observer_kwargs", Json::object());
  return weight_observer(args, {"args", "codecs.json"});
}

std::vector<float> importance_of(const Json& one, const ObserverOptions& observer) {
  const WeightLayout layout = layout_of(one);
  std::vector<float> importance;
  if (!one.value("importance", false) || !asks_for_importance(layout.args, observer)) return importance;
  for (int64_t i = 0; i < layout.cols; ++i) {
    const uint64_t h = hash_of(static_cast<uint64_t>(i), one["seed"].get<uint64_t>() + 17);
    const float x = static_cast<float>(h % 1000 + 1) / ((h >> 12) % 4 == 0 ? 1.0F : 1000.0F);
    importance.push_back(h % 9 == 0 ? 0.0F : x);
  }
  return importance;
}

// Two steps of the grid may have errors so close that the order of additions decides, which is not the peer's.
TEST_P(CodecGolden, TheScalesOfTheSearchAreThePeers) {
  int64_t groups = 0, differing = 0;
  for (const Json& one : cases()) {
    if (!one.contains("scales")) continue;
    const WeightLayout layout = layout_of(one);
    const ObserverOptions observer = options_of(one);
    const auto scales =
        quantized(layout, weight_of(one), observer, QuantizationArithmetic::peer, importance_of(one, observer))[1];
    const auto expected = bytes_of(one["scales"]);
    ASSERT_EQ(scales.size(), expected.size()) << name_of(one);
    const auto width = static_cast<size_t>(info(stored_tensors(layout)[1].dtype).bits / 8);
    for (size_t i = 0; i < scales.size(); i += width, ++groups)
      differing += std::memcmp(&scales[i], &expected[i], width) != 0 ? 1 : 0;
  }
  EXPECT_GT(groups, 10000);
  EXPECT_LE(differing * 1000, groups);
}

}  // namespace
}  // namespace spinor::codec_golden_test
