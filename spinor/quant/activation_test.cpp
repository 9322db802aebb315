#include "spinor/quant/activation.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>

#include "spinor/base/error.h"
#include "spinor/quant/float8.h"
#include "spinor/quant/testing.h"

namespace spinor::activation_test {
namespace {

using enum QuantizationStrategy;
using testing_quant::awkward_weight;

QuantizationArgs ints(int bits, QuantizationStrategy strategy, bool symmetric = true) {
  QuantizationArgs args{.num_bits = bits, .symmetric = symmetric, .strategy = strategy};
  args.dynamic = QuantizationDynamic::yes;
  return args;
}
QuantizationArgs floats(int bits, QuantizationStrategy strategy) {
  QuantizationArgs args = ints(bits, strategy);
  args.type = QuantizationType::floating;
  return args;
}
QuantizationArgs grouped(QuantizationArgs args, int64_t size) {
  args.group_size = size;
  return args;
}
// As MXFP4 and MXFP8: scales are powers of two.
QuantizationArgs microscaled(int bits) {
  QuantizationArgs args = grouped(floats(bits, group), 32);
  args.scale_dtype = "torch.uint8";
  return args;
}

struct Case {
  std::string name;
  QuantizationArgs args;
  float clip = 1;
  StaticActivation fixed = {};
};

std::vector<Case> cases() {
  QuantizationArgs fixed = ints(8, tensor), nvfp4 = grouped(floats(4, tensor_group), 16), fixed_fp8 = floats(8, tensor);
  fixed.dynamic = fixed_fp8.dynamic = QuantizationDynamic::no;
  nvfp4.dynamic = QuantizationDynamic::local;
  QuantizationArgs heads = fixed_fp8;
  heads.strategy = attn_head;
  return {{"int8 token", ints(8, token)},
          {"int8 token, asymmetric", ints(8, token, false)},
          {"int4 token, asymmetric, clipped", ints(4, token, false), 0.9F},
          {"int2 token, clipped", ints(2, token), 0.75F},
          {"int4 groups", grouped(ints(4, group), 32)},
          {"int4 groups, asymmetric, the last one short", grouped(ints(4, group, false), 48)},
          {"int5 groups longer than the row", grouped(ints(5, group), 4096)},
          {"fp8 token", floats(8, token)},
          {"fp4 groups", grouped(floats(4, group), 16)},
          {"mxfp4", microscaled(4)},
          {"mxfp8", microscaled(8)},
          {"int8 static", fixed, 1, {.affine = {{0.03F, 0}}}},
          {"int8 static with a zero point", fixed, 1, {.affine = {{0.1F, -37}}}},
          {"fp8 static, of each of three heads", heads, 1, {.affine = {{0.002F, 0}, {0.01F, 0}, {0.0005F, 0}}}},
          {"fp8 static", fixed_fp8, 1, {.affine = {{0.002F, 0}}}},
          {"nvfp4", nvfp4, 1, {.affine = {}, .global = 40.F}}};
}

struct Quantized {
  float value;
  float scale;
};

// The same once more: one element at a time, from the formulas.
class Formula {
 public:
  explicit Formula(const Case& c) : c_(c), integer_(c.args.type == QuantizationType::integer) {
    top_ = integer_ ? std::ldexp(1.F, c.args.num_bits - 1) - 1 : c.args.num_bits == 8 ? 448.F : 6.F;
    bottom_ = integer_ ? -top_ - 1 : -top_;
  }

  std::vector<float> row(const std::vector<float>& x, int64_t index) const {
    const size_t n = x.size(), size = c_.args.group_size ? static_cast<size_t>(*c_.args.group_size) : n;
    std::vector<float> result;
    for (size_t first = 0; first < n; first += size) {
      const size_t end = std::min(n, first + size);
      const auto [low, high] = std::minmax_element(x.begin() + std::ptrdiff_t(first), x.begin() + std::ptrdiff_t(end));
      const std::vector<Affine>& fixed = c_.fixed.affine;
      const Affine affine = fixed.empty() ? of_range(std::min(*low, 0.F), std::max(*high, 0.F))
                                          : fixed[static_cast<size_t>(index) % fixed.size()];
      for (size_t i = first; i < end; ++i)
        result.push_back((nearest(x[i] / affine.scale + affine.zero) - affine.zero) * affine.scale);
    }
    return result;
  }

 private:
  Affine of_range(float low, float high) const {
    low *= c_.clip;
    high *= c_.clip;
    const float largest = std::max(-low, high);
    if (c_.fixed.global) {
      const float stored = from_e4m3(to_e4m3(std::min(*c_.fixed.global * (largest / top_), 448.F)));
      return {(stored == 0 ? 0.125F : stored) / *c_.fixed.global, 0};
    }
    if (c_.args.scale_dtype) return {power_of_two(largest), 0};
    float zero = 0;
    float scale = largest / ((top_ - bottom_) / 2);
    if (!c_.args.symmetric) {
      scale = (high - low) / (top_ - bottom_);
      zero = bottom_ - low / scale;
      zero = std::isnan(zero) ? 0 : std::nearbyint(std::clamp(zero, bottom_, top_));
    }
    return {scale == 0 ? std::numeric_limits<float>::epsilon() : scale, zero};
  }

  // From 7/8 of the next power of two on, it counts as that one.
  float power_of_two(float largest) const {
    int exponent = 0;
    const float fraction = std::frexp(largest, &exponent);  // in [1/2, 1)
    if (fraction < 0.875F) --exponent;
    return std::ldexp(1.F, largest == 0 ? -127 : std::max(-127, exponent - (c_.args.num_bits == 4 ? 2 : 8)));
  }

  float nearest(float y) const {
    y = std::clamp(y, bottom_, top_);
    if (integer_) return std::nearbyint(y);
    if (c_.args.num_bits == 8) return from_e4m3(to_e4m3(y));
    const float a = std::fabs(y), step = a < 2 ? 0.5F : a < 4 ? 1.F : 2.F;
    return std::copysign(std::nearbyint(a / step) * step, y);  // halves go to the even code
  }

  const Case& c_;
  bool integer_;
  float top_, bottom_;
};

std::vector<float> row_of(const Matrix<float>& x, int64_t i) {
  return {x.data.begin() + i * x.cols, x.data.begin() + (i + 1) * x.cols};
}

Matrix<float> applied(const Case& c, Matrix<float> x) {
  ActivationQuantizer::Scratch scratch;
  ActivationQuantizer(c.args, c.clip, c.fixed).apply(x.view(), scratch);
  return x;
}

// Zeros, ties, denormals, outliers and rows of one sign among them.
TEST(Activation, IsWhatTheFormulasSay) {
  for (const Case& c : cases())
    for (const int64_t cols : {128, 96, 7}) {
      SCOPED_TRACE(c.name + ", " + std::to_string(cols) + " columns");
      const Matrix<float> x = awkward_weight(24, cols, 5), y = applied(c, x);
      for (int64_t i = 0; i < x.rows; ++i) EXPECT_EQ(row_of(y, i), Formula(c).row(row_of(x, i), i)) << "row " << i;
    }
}

TEST(Activation, ARowOfZerosStaysZero) {
  for (const Case& c : cases()) {
    const Matrix<float> y = applied(c, Matrix<float>(2, 64));
    EXPECT_TRUE(std::ranges::all_of(y.data, [](float value) { return value == 0; })) << c.name;
  }
}

// A range that is found anew is that of rounded values, and so not the same; what is fixed or a power of two is.
TEST(Activation, TwiceIsOnceWhereTheScaleCannotChange) {
  for (const Case& c : cases()) {
    if (c.fixed.affine.empty() && !c.args.scale_dtype) continue;
    const Matrix<float> once = applied(c, awkward_weight(24, 128, 7));
    EXPECT_EQ(applied(c, once).data, once.data) << c.name;
  }
}

TEST(Activation, ValuesThatAreNotFiniteStaySo) {
  for (const Case& c : cases())
    for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
      Matrix<float> x = awkward_weight(3, 64, 9);
      x(1, 5) = bad;
      const Matrix<float> y = applied(c, x);
      EXPECT_EQ(std::memcmp(&y(1, 5), &bad, sizeof(bad)), 0) << c.name << " " << bad;
      for (const int64_t i : {0, 2}) EXPECT_EQ(row_of(y, i), Formula(c).row(row_of(x, i), i)) << c.name;
    }
}

RC_GTEST_PROP(Activation, AFewValuesLieWithinAStepOfManyAndZeroIsOne, (const std::vector<int16_t>& numbers)) {
  RC_PRE(!numbers.empty());
  const int bits = *rc::gen::inRange(2, 9);
  const bool symmetric = *rc::gen::arbitrary<bool>();
  Matrix<float> x(1, std::ssize(numbers) + 1);
  for (size_t i = 0; i < numbers.size(); ++i) x.data[i] = static_cast<float>(numbers[i]) / 64;
  const Matrix<float> y = applied({"", ActivationQuantizer::token_args(bits, symmetric)}, x);
  const auto [low, high] = std::ranges::minmax(x.data);
  const float step =
      symmetric ? 2 * std::max(-low, high) / (std::ldexp(1.F, bits) - 1) : (high - low) / (std::ldexp(1.F, bits) - 1);
  // Half a step to the nearest code, and another half at the ends of the range: the zero point is a code. And float.
  for (size_t i = 0; i < x.data.size(); ++i) RC_ASSERT(std::fabs(x.data[i] - y.data[i]) <= 1.001F * step);
  RC_ASSERT(y.data.back() == 0);
  RC_ASSERT(std::set(y.data.begin(), y.data.end()).size() <= size_t{1} << bits);
}

TEST(Activation, EqualIsWhatRoundsAlike) {
  const ActivationQuantizer four(ActivationQuantizer::token_args(4, false));
  EXPECT_EQ(four, ActivationQuantizer(ints(4, token, false)));
  EXPECT_NE(four, ActivationQuantizer(ActivationQuantizer::token_args(4, true)));
  EXPECT_NE(four, ActivationQuantizer(ActivationQuantizer::token_args(5, false)));
  EXPECT_NE(four, ActivationQuantizer(ActivationQuantizer::token_args(4, false), 0.9F));
  EXPECT_NE(four, ActivationQuantizer(grouped(ints(4, group, false), 32)));
}

TEST(Activation, SaysWhatItCannotRun) {
  const auto message = [](const QuantizationArgs& args) -> std::string {
    try {
      const ActivationQuantizer quantizer(args);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(message(ints(16, token)), "activations: cannot be quantized to 16 bits of this type");
  EXPECT_EQ(message(ints(1, token)), "activations: cannot be quantized to 1 bits of this type");
  EXPECT_EQ(message(floats(6, token)), "activations: cannot be quantized to 6 bits of this type");
  QuantizationArgs fixed = ints(8, tensor);
  const std::string strategies =
      "activations: have a strategy that spinor cannot run; it runs token and group (dynamic), tensor and "
      "attn_head (static) and tensor_group";
  EXPECT_EQ(message(fixed), strategies);
  EXPECT_EQ(message(ints(8, channel)), strategies);
  fixed.dynamic = QuantizationDynamic::no;
  EXPECT_EQ(message(fixed), "activations: have no static scale; the checkpoint is incomplete");
  EXPECT_EQ(message(grouped(floats(4, tensor_group), 16)),
            "activations: have no input_global_scale; the checkpoint is incomplete");
}

}  // namespace
}  // namespace spinor::activation_test
