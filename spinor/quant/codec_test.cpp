#include <gtest/gtest.h>

#include <random>

#include "spinor/base/error.h"
#include "spinor/base/parallel.h"
#include "spinor/linalg/cpu.h"
#include "spinor/quant/decoder.h"
#include "spinor/quant/encoder.h"
#include "spinor/quant/float8.h"
#include "spinor/quant/testing.h"

namespace spinor::codec_test {
namespace {

using namespace testing_quant;
using enum QuantizationStrategy;
using enum QuantizationType;

QuantizationArgs integers(int bits, bool symmetric, QuantizationStrategy strategy) {
  QuantizationArgs args{.num_bits = bits, .symmetric = symmetric, .strategy = strategy};
  if (strategy == group) args.group_size = 32;
  if (strategy == block) args.block_structure = {24, 40};
  return args;
}

QuantizationArgs floats(int bits, QuantizationStrategy strategy, int64_t group_size = 0) {
  QuantizationArgs args{.num_bits = bits, .type = floating, .strategy = strategy};
  if (group_size != 0) args.group_size = group_size;
  if (strategy == block) args.block_structure = {24, 40};
  return args;
}

// Every format with every strategy it takes. 96 columns: groups of 16 and 32 divide, blocks do not.
std::vector<WeightLayout> all_layouts(DType dtype = DType::BF16) {
  std::vector<WeightLayout> all;
  const auto add = [&](const char* format, const QuantizationArgs& args) {
    all.push_back({args, format, 50, 96, dtype});
  };
  for (const QuantizationStrategy strategy : {tensor, channel, group, block}) {
    for (int bits = 2; bits <= 8; ++bits) add("pack-quantized", integers(bits, bits % 2 == 0, strategy));
    for (const bool symmetric : {true, false}) add("int-quantized", integers(8, symmetric, strategy));
    add("naive-quantized", integers(4, false, strategy));
    add("float-quantized", floats(8, strategy, strategy == group ? 32 : 0));
  }
  add("nvfp4-pack-quantized", floats(4, tensor_group, 16));
  add("mxfp4-pack-quantized", floats(4, group, 32));
  add("mxfp8-quantized", floats(8, group, 32));
  return all;
}

std::string name_of(const WeightLayout& layout) {
  return layout.format + " of " + std::to_string(layout.args.num_bits) + " bits, " +
         std::string(name_in_table(*layout.args.strategy));
}

constexpr QuantizationArithmetic kArithmetics[] = {QuantizationArithmetic::exact, QuantizationArithmetic::peer};

class Codec : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override { set_cpu_level(GetParam()); }
  void TearDown() override { set_cpu_level(cpu_levels().back()); }
};

INSTANTIATE_TEST_SUITE_P(Levels, Codec, testing::ValuesIn(cpu_levels().begin(), cpu_levels().end()),
                         [](const auto& test) { return std::string(test.param); });

TEST_P(Codec, BytesDoNotDependOnTheOrderOfTilesNorOnTheCut) {
  for (const WeightLayout& layout : all_layouts()) {
    const Matrix<float> w = awkward_weight(layout.rows, layout.cols, 3);
    for (const QuantizationArithmetic arithmetic : kArithmetics) {
      const auto expected = quantized(layout, w, {}, arithmetic);
      for (const Cut& cut : {Cut{7, 96}, Cut{50, 32}, Cut{7, 32, true}, Cut{24, 64}, Cut{24, 64, true}}) {
        WeightEncoder encoder(layout, {}, arithmetic);
        observe(encoder, w, cut);
        EXPECT_EQ(encode(encoder, w, cut), expected) << name_of(layout) << " " << cut.rows << " x " << cut.cols;
      }
    }
  }
}

TEST_P(Codec, TheMseSearchDoesNotDependOnTheOrderOfTiles) {
  for (const WeightLayout& layout : all_layouts()) {
    const Matrix<float> w = awkward_weight(layout.rows, layout.cols, 4);
    for (const Cut& cut : {Cut{7, 32}, Cut{7, 96}, Cut{24, 64}}) {
      WeightEncoder forwards(layout, {.mse = true}), backwards(layout, {.mse = true});
      observe(forwards, w, cut);
      observe(backwards, w, {cut.rows, cut.cols, true});
      EXPECT_EQ(encode(forwards, w, cut), encode(backwards, w, cut)) << name_of(layout);
    }
  }
}

TEST_P(Codec, ThreadsMayShareGroups) {
  for (const WeightLayout& layout : all_layouts()) {
    const Matrix<float> w = awkward_weight(layout.rows, layout.cols, 5);
    for (const bool mse : {false, true}) {
      const Cut cut{7, 32};
      WeightEncoder alone(layout, {.mse = mse}), together(layout, {.mse = mse});
      observe(alone, w, cut);
      for (int pass = 0; pass < together.passes(whole_groups(layout, cut)); ++pass) {
        parallel_for(8 * 3, 4, [&](int64_t item, int) {
          const int64_t row = item / 3 * 7, col = item % 3 * 32;
          together.observe(pass, row, col, w.view().block(row, col, std::min<int64_t>(7, 50 - row), 32));
        });
        together.end_pass(pass);
      }
      EXPECT_EQ(encode(alone, w, cut), encode(together, w, cut)) << name_of(layout);
    }
  }
}

TEST_P(Codec, QuantizeDequantizeIsEncodeThenDecode) {
  for (const WeightLayout& layout : all_layouts(DType::F16)) {
    Matrix<float> w = awkward_weight(layout.rows, layout.cols, 6);
    for (const QuantizationArithmetic arithmetic : kArithmetics) {
      const Matrix<float> expected = decoded(layout, quantized(layout, w, {}, arithmetic));
      WeightEncoder encoder(layout, {}, arithmetic);
      observe(encoder, w, whole(layout));
      Matrix<float> x = w;
      encoder.quantize_dequantize(0, 0, x.view());
      EXPECT_EQ(std::memcmp(x.data.data(), expected.data.data(), x.data.size() * sizeof(float)), 0) << name_of(layout);
    }
  }
}

TEST_P(Codec, DecodesTheSameByTilesAndToDouble) {
  for (const WeightLayout& layout : all_layouts()) {
    auto tensors = quantized(layout, awkward_weight(layout.rows, layout.cols, 7));
    const Matrix<float> expected = decoded(layout, tensors);
    const WeightDecoder decoder(layout, {tensors.begin() + 1, tensors.end()});
    Matrix<double> w(layout.rows, layout.cols);
    const int64_t stride = decoder.row_bytes(layout.cols);
    for_each_tile(layout, {7, 32}, [&](int64_t row, int64_t col, int64_t rows, int64_t cols) {
      decoder.decode(row, col, tensors[0].data() + row * stride + decoder.row_bytes(col), stride,
                     w.view().block(row, col, rows, cols));
    });
    for (size_t i = 0; i < w.data.size(); ++i) ASSERT_EQ(w.data[i], expected.data[i]) << name_of(layout);
  }
}

TEST_P(Codec, AllLevelsWriteTheSameBytes) {
  for (const WeightLayout& layout : all_layouts()) {
    const Matrix<float> w = awkward_weight(layout.rows, layout.cols, 8);
    const auto here = quantized(layout, w);
    set_cpu_level(cpu_levels().back());
    EXPECT_EQ(quantized(layout, w), here) << name_of(layout);
    set_cpu_level(GetParam());
  }
}

// A code is nearest: no value is further off than half a step, a little more for the clamp at the positive end of
// symmetric integers (their scale divides by 7.5, not 7) and for the rounding of the scale.
TEST_P(Codec, IntegersAreWithinHalfAStep) {
  std::mt19937 engine(1);
  std::normal_distribution<float> normal;
  Matrix<float> w(16, 64);
  for (float& x : w.data) x = normal(engine);
  for (const bool symmetric : {true, false}) {
    const WeightLayout layout{integers(4, symmetric, group), "pack-quantized", 16, 64, DType::F32};
    const auto tensors = quantized(layout, w);
    const Matrix<float> back = decoded(layout, tensors);
    for (int64_t i = 0; i < 16; ++i) {
      for (int64_t j = 0; j < 64; ++j) {
        float scale = 0;
        std::memcpy(&scale, &tensors[1][static_cast<size_t>(i * 2 + j / 32) * 4], 4);
        EXPECT_LE(std::fabs(w(i, j) - back(i, j)), 0.5001F * scale);
      }
    }
  }
}

// Values of llm-compressor's own tests.
TEST_P(Codec, FiveOnesOfEightBits) {
  const Matrix<float> ones = [] {
    Matrix<float> m(1, 5);
    std::ranges::fill(m.data, 1.0F);
    return m;
  }();
  for (const bool symmetric : {true, false}) {
    const WeightLayout layout{integers(8, symmetric, tensor), "int-quantized", 1, 5, DType::F32};
    const auto tensors = quantized(layout, ones);
    float scale = 0;
    std::memcpy(&scale, tensors[1].data(), 4);
    EXPECT_NEAR(scale, symmetric ? 0.0078 : 0.0039, 5e-5);  // four decimals are given
    if (!symmetric) {
      EXPECT_EQ(static_cast<int8_t>(tensors[2][0]), -128);
    }
  }
}

TEST_P(Codec, TheMseSearchLosesWhatLlmCompressorsTestsSay) {
  Matrix<float> w(6, 4);
  for (size_t i = 0; i < 24; ++i) w.data[i] = static_cast<float>(i) / 24;
  struct Row {
    QuantizationStrategy strategy;
    double symmetric, asymmetric;
  };
  for (const Row& row : {Row{tensor, 4.8103e-06, 1.1258e-06}, Row{channel, 2.5675e-06, 2.3696e-07},
                         Row{group, 3.1282e-06, 1.3794e-07}, Row{block, 2.8968e-06, 5.6068e-07}}) {
    for (const bool symmetric : {true, false}) {
      QuantizationArgs args = integers(8, symmetric, row.strategy);
      if (row.strategy == group) args.group_size = 2;
      if (row.strategy == block) args.block_structure = {3, 2};
      const WeightLayout layout{args, "int-quantized", 6, 4, DType::F32};
      const Matrix<float> back = decoded(layout, quantized(layout, w, {.mse = true}));
      double loss = 0;
      for (size_t i = 0; i < 24; ++i) loss += std::pow(static_cast<double>(back.data[i]) - w.data[i], 2) / 24;
      EXPECT_NEAR(loss, symmetric ? row.symmetric : row.asymmetric, 1e-10) << name_of(layout);
    }
  }
}

TEST_P(Codec, ExactArithmeticKeepsWhatRoundingToTheStoredTypeWouldLose) {
  // In BF16, 1.001 is 1. With a range of 7.5 the scale is 1; 0.5 * 1.001 rounds up only if it is not rounded first.
  Matrix<float> w(1, 32);
  w(0, 0) = 7.5F;
  w(0, 1) = 0.5005F;
  const WeightLayout layout{integers(4, true, group), "int-quantized", 1, 32, DType::BF16};
  EXPECT_EQ(quantized(layout, w)[0][1], std::byte{1});
  EXPECT_EQ(quantized(layout, w, {}, QuantizationArithmetic::peer)[0][1], std::byte{0});
}

TEST_P(Codec, TensorsThatShareAGlobalScaleUseTheLargest) {
  Matrix<float> small(4, 32), large(4, 32);
  std::ranges::fill(small.data, 0.5F);
  std::ranges::fill(large.data, 12.0F);
  const WeightLayout layout{floats(4, tensor_group, 16), "nvfp4-pack-quantized", 4, 32, DType::BF16};
  WeightEncoder a(layout), b(layout);
  observe(a, small, whole(layout));
  observe(b, large, whole(layout));
  EXPECT_EQ(a.largest_magnitude(), 0.5F);
  const float shared = std::max(a.largest_magnitude(), b.largest_magnitude());
  a.share_largest_magnitude(shared);
  b.share_largest_magnitude(shared);
  const auto of_a = encode(a, small, whole(layout)), of_b = encode(b, large, whole(layout));
  EXPECT_EQ(of_a[2], of_b[2]);
  float global = 0;
  std::memcpy(&global, of_a[2].data(), 4);
  EXPECT_NEAR(global, 448 * 6 / 12.0, 1e-3);
  for (const float x : decoded(layout, of_a).data) EXPECT_NEAR(x, 0.5F, 0.5F / 16);  // the local scale is FP8
}

// ---- What only is decoded

TEST_P(Codec, ReadsFp8BlocksWithInverseScales) {
  const WeightLayout layout{floats(8, block), "fp8", 30, 50, DType::F32};
  const auto tensors = stored_tensors(layout);
  ASSERT_EQ(tensors[1].suffix, "weight_scale_inv");
  ASSERT_EQ(tensors[1].shape, (std::vector<int64_t>{2, 2}));
  std::vector<std::byte> codes(30 * 50), scales(16);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::byte>(i % 127 + i / 700 * 128);
  const float scale[] = {0.5F, 0.3F, 7, 1e-3F};
  std::memcpy(scales.data(), scale, 16);
  const Matrix<float> w = decoded(layout, {codes, scales});
  for (int64_t i = 0; i < 30; ++i)
    for (int64_t j = 0; j < 50; ++j)
      ASSERT_EQ(w(i, j),
                from_e4m3(static_cast<uint8_t>(codes[static_cast<size_t>(i * 50 + j)])) * scale[i / 24 * 2 + j / 40]);
}

TEST_P(Codec, ReadsTheMxfp4BlocksOfGptOss) {
  const WeightLayout layout{floats(4, group, 32), "gpt-oss-mxfp4", 3, 64, DType::BF16};
  const auto tensors = stored_tensors(layout);
  EXPECT_EQ(tensors[0].shape, (std::vector<int64_t>{3, 2, 16}));
  EXPECT_EQ(tensors[1].suffix, "_scales");
  std::vector<std::byte> codes(3 * 32), scales(6);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<std::byte>(i * 37);
  for (size_t i = 0; i < 6; ++i) scales[i] = static_cast<std::byte>(120 + i);
  const Matrix<double> w = decoded<double>(layout, {codes, scales});
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 64; ++j) {
      const auto byte = static_cast<int>(codes[static_cast<size_t>(i * 32 + j / 2)]);
      const int code = j % 2 == 0 ? byte & 15 : byte >> 4;  // the low nibble first
      ASSERT_EQ(w(i, j),
                std::ldexp(from_e2m1(static_cast<uint8_t>(code)), static_cast<int>(120 + i * 2 + j / 32) - 127));
    }
  }
}

// ---- Refusals

std::string error_of(const auto& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(CodecErrors, LayoutsThatNoFormatHoldsAreRefused) {
  const auto refusal = [](const char* format, QuantizationArgs args, int64_t cols = 96, DType dtype = DType::BF16) {
    return error_of([&] { (void)stored_tensors({args, format, 50, cols, dtype}); });
  };
  EXPECT_EQ(refusal("pack-quantized", integers(4, true, group), 100),
            "weight: 100 columns are not divisible by group_size 32; use a scheme without groups, or "
            "leave the module out: its name in --ignore by command, in ignore in a recipe");
  EXPECT_EQ(
      refusal("pack-quantized", integers(4, true, group), 80),
      "weight: 80 columns are not divisible by group_size 32; use --group-size 16 by command, "
      "group_size: 16 in a recipe, or leave the module out: its name in --ignore by command, in ignore in a recipe");
  EXPECT_EQ(refusal("mxfp4-pack-quantized", floats(4, group, 32), 80),
            "weight: 80 columns are not divisible by group_size 32; "
            "leave the module out: its name in --ignore by command, in ignore in a recipe");
  EXPECT_EQ(refusal("gguf", integers(4, true, group)), "weight: no format 'gguf' for quantized weights");
  EXPECT_EQ(refusal("pack-quantized", floats(4, group, 32)), "weight: pack-quantized does not hold float of 4 bits");
  EXPECT_EQ(refusal("pack-quantized", integers(9, true, group)), "weight: pack-quantized does not hold int of 9 bits");
  EXPECT_EQ(refusal("mxfp4-pack-quantized", floats(4, group, 16)),
            "weight: mxfp4-pack-quantized has groups of 32, not of 16");
  EXPECT_EQ(refusal("nvfp4-pack-quantized", floats(4, group, 16)),
            "weight: nvfp4-pack-quantized does not hold weights of strategy group");
  EXPECT_EQ(refusal("int-quantized", integers(8, true, token)),
            "weight: int-quantized does not hold weights of strategy token");
  EXPECT_EQ(refusal("int-quantized", integers(8, true, channel), 96, DType::F64),
            "weight: F64 is not a dtype of scales; F32, F16 and BF16 are");
  QuantizationArgs asymmetric = floats(8, channel);
  asymmetric.symmetric = false;
  EXPECT_EQ(refusal("float-quantized", asymmetric), "weight: floating-point codes are symmetric");
  EXPECT_EQ(error_of([] { WeightEncoder({floats(4, group, 32), "gpt-oss-mxfp4", 1, 32, DType::BF16}); }),
            "weight: gpt-oss-mxfp4 is only read, never written");
  EXPECT_EQ(error_of([] {
              WeightEncoder({integers(4, true, group), "pack-quantized", 1, 32, DType::BF16},
                            {.mse = true, .maxshrink = 0.9, .grid = 150});
            }),
            "observer_kwargs: maxshrink 0.9 and grid 150 make 135 steps; at most 128 are possible");
}

TEST(CodecErrors, ValuesThatHaveNoCodeAreRefused) {
  const WeightLayout layout{integers(4, true, group), "pack-quantized", 8, 96, DType::F16};
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    for (const int64_t col : {0, 31, 95}) {
      Matrix<float> w(8, 96);
      w(5, col) = bad;
      EXPECT_EQ(error_of([&] { (void)quantized(layout, w); }), "weight: row 5 has a value that is not finite as F32");
    }
  }
  Matrix<float> w(8, 96);
  w(2, 3) = 1e6F;
  EXPECT_EQ(error_of([&] { (void)quantized(layout, w); }),
            "weight: the scale of the values of row 2 up to 1000000 is infinite as F16");
  EXPECT_EQ(error_of([&] { (void)quantized(layout, w, {}, QuantizationArithmetic::peer); }),
            "weight: row 2 has a value that is not finite as F16");
}

TEST(CodecErrors, TilesWithPartsOfGroupsMustBeObservedFirst) {
  const WeightLayout layout{integers(8, true, channel), "int-quantized", 8, 96, DType::BF16};
  const Matrix<float> w = awkward_weight(8, 96, 1);
  std::byte codes[8 * 96];
  WeightEncoder encoder(layout);
  EXPECT_EQ(error_of([&] { encoder.encode(0, 0, w.view().block(0, 0, 8, 32), codes, 96); }),
            "weight: is encoded before it was observed");
}

TEST(CodecErrors, DamagedTensorsAreRefused) {
  const WeightLayout layout{integers(4, false, group), "pack-quantized", 50, 96, DType::F32};
  const auto good = quantized(layout, awkward_weight(50, 96, 1));
  const auto with = [&](size_t index, const std::vector<std::byte>& bytes) {
    auto tensors = good;
    tensors[index] = bytes;
    return error_of([&] { (void)decoded(layout, tensors); });
  };
  EXPECT_EQ(with(1, good[1]), "no error");
  auto scales = good[1];
  const float nan = NAN;
  std::memcpy(&scales[(7 * 3 + 2) * 4], &nan, 4);
  EXPECT_EQ(with(1, scales), "weight_scale: [7, 2] is not finite");
  EXPECT_EQ(with(2, {good[2].begin() + 4, good[2].end()}), "weight_zero_point: has 80 bytes instead of 84");
  auto shape = good[3];
  shape[0] = std::byte{51};
  EXPECT_EQ(with(3, shape), "weight_shape: is (51, 96), but the weight is (50, 96)");
  EXPECT_EQ(error_of([&] { WeightDecoder(layout, {good[1]}); }), "weight: pack-quantized has 4 tensors, not 2");
}

TEST(CodecErrors, CodesThatStandForNothingAreRefused) {
  const WeightLayout fp8{floats(8, channel), "float-quantized", 2, 3, DType::BF16};
  std::vector<std::byte> codes(6), scales(4);
  EXPECT_EQ(error_of([&] { (void)decoded(fp8, {codes, scales}); }), "no error");
  codes[4] = std::byte{0xff};
  EXPECT_EQ(error_of([&] { (void)decoded(fp8, {codes, scales}); }),
            "weight: row 1 has a code that stands for no number");
  const WeightLayout int4{integers(4, true, channel), "int-quantized", 2, 3, DType::BF16};
  codes = {std::byte{7}, std::byte{0xf8}, std::byte{0}, std::byte{0}, std::byte{0}, std::byte{0}};
  EXPECT_EQ(error_of([&] { (void)decoded(int4, {codes, scales}); }), "no error");
  codes[0] = std::byte{8};
  EXPECT_EQ(error_of([&] { (void)decoded(int4, {codes, scales}); }),
            "weight: row 0 has a code that stands for no number");
  const WeightLayout mx{floats(4, group, 32), "mxfp4-pack-quantized", 1, 32, DType::BF16};
  EXPECT_EQ(error_of([&] { (void)decoded(mx, {std::vector<std::byte>(16), {std::byte{255}}}); }),
            "weight_scale: [0, 0] is not finite");
}

}  // namespace
}  // namespace spinor::codec_test
