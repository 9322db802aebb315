#include "spinor/io/safetensors.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>

#include "spinor/io/testing.h"

namespace spinor::safetensors_test {
namespace {

using testing::message_of;

std::string container(std::string_view json, int64_t data_bytes) {
  uint64_t length = json.size();
  std::string file(8, '\0');
  std::memcpy(file.data(), &length, 8);
  return file.append(json).append(static_cast<size_t>(data_bytes), 'x');
}

SafetensorsHeader parse(std::string_view file) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), std::ssize(file), "m.safetensors");
}

// What is wrong with a file of this header and so many bytes of tensors.
std::string refusal(std::string_view json, int64_t data_bytes) {
  return message_of([&] { parse(container(json, data_bytes)); });
}

std::string tensor(std::string_view name, std::string_view dtype, std::string_view shape, std::string_view offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, dtype, shape, offsets);
}

TEST(Safetensors, HeadersEqualTheLibrarysByteForByte) {
  for (const std::string name : {"empty", "every_dtype", "names", "padding"}) {
    const std::string golden =
        read_text(std::string(SPINOR_SOURCE_DIR "/tests/golden/safetensors/") + name + ".safetensors");
    SafetensorsHeader header = parse(golden);
    std::ranges::reverse(header.tensors);
    std::vector<TensorInfo> tensors = header.tensors;
    EXPECT_EQ(make_safetensors_header(tensors, header.metadata), golden.substr(0, header.data_begin)) << name;
    std::ranges::reverse(header.tensors);
    for (size_t i = 0; i < tensors.size(); ++i) {
      EXPECT_EQ(tensors[i].name, header.tensors[i].name);
      EXPECT_EQ(tensors[i].begin, header.tensors[i].begin);
      EXPECT_EQ(tensors[i].end, header.tensors[i].end);
    }
  }
}

TEST(Safetensors, OffsetsCountFromTheStartOfTheFile) {
  const SafetensorsHeader header = parse(
      container("{" + tensor("b", "F32", "[1,3]", "[4,16]") + "," + tensor("a", "BF16", "[2]", "[0,4]") + "}", 16));
  ASSERT_EQ(header.tensors.size(), 2u);
  EXPECT_EQ(header.tensors[0].name, "a");
  EXPECT_EQ(header.tensors[0].begin, header.data_begin);
  EXPECT_EQ(header.tensors[1].begin, header.data_begin + 4);
  EXPECT_EQ(header.tensors[1].end, header.data_begin + 16);
  EXPECT_EQ(header.tensors[1].bytes(), 12);
}

TEST(Safetensors, TensorsAreMatrices) {
  const auto dimensions = [](std::vector<int64_t> shape) {
    const TensorInfo t{.name = "t", .shape = std::move(shape)};
    return std::tuple(t.rows(), t.cols(), t.elements());
  };
  EXPECT_EQ(dimensions({}), std::tuple(1, 1, 1));
  EXPECT_EQ(dimensions({5}), std::tuple(1, 5, 5));
  EXPECT_EQ(dimensions({2, 3, 4}), std::tuple(6, 4, 24));
  EXPECT_EQ(dimensions({2, 0}), std::tuple(2, 0, 0));
}

RC_GTEST_PROP(Safetensors, WhatIsWrittenIsReadBack, ()) {
  const auto names =
      *rc::gen::unique<std::vector<std::string>>(rc::gen::container<std::string>(rc::gen::inRange<char>(1, 127)));
  std::vector<TensorInfo> tensors;
  for (const std::string& name : names)
    tensors.push_back({.name = name,
                       .dtype = *rc::gen::element(DType::F64, DType::BF16, DType::U8, DType::F4),
                       .shape = {*rc::gen::inRange<int64_t>(0, 9), 2}});
  const std::string header = make_safetensors_header(tensors, {{"format", "pt"}});
  const size_t data_bytes = tensors.empty() ? 0 : static_cast<size_t>(tensors.back().end) - header.size();
  const SafetensorsHeader read = parse(header + std::string(data_bytes, 'x'));
  RC_ASSERT(read.tensors.size() == tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto found = std::ranges::find(read.tensors, tensors[i].name, &TensorInfo::name);
    RC_ASSERT(found != read.tensors.end());
    RC_ASSERT(found->dtype == tensors[i].dtype && found->shape == tensors[i].shape);
    RC_ASSERT(found->begin == tensors[i].begin && found->end == tensors[i].end);
  }
}

TEST(Safetensors, TruncatedFilesAreRefused) {
  EXPECT_EQ(message_of([] { parse(""); }), "m.safetensors: 0 bytes are too few for a safetensors file");
  EXPECT_EQ(message_of([] { parse("1234567"); }), "m.safetensors: 7 bytes are too few for a safetensors file");
  const std::string file = container("{" + tensor("a", "F32", "[2]", "[0,8]") + "}", 8);
  EXPECT_EQ(message_of([&] { parse(file.substr(0, 30)); }),
            "m.safetensors: a header of 54 bytes does not fit into 30 bytes; the file is truncated: download or copy "
            "it again");
  EXPECT_EQ(message_of([&] { parse(file.substr(0, file.size() - 1)); }),
            "m.safetensors: a: data_offsets [0,8] reach beyond the 7 bytes of tensors in the file; the file may be "
            "truncated: download or copy it again");
  for (size_t bytes = 0; bytes < file.size(); ++bytes) EXPECT_THROW(parse(file.substr(0, bytes)), Error) << bytes;
  EXPECT_NO_THROW(parse(file));
}

TEST(Safetensors, HeaderLengthsBeyondTheLimitsAreRefused) {
  std::string file = container("{}", 0);
  file[0] = 1;
  EXPECT_EQ(message_of([&] { parse(file); }), "m.safetensors: a header of 1 bytes is impossible, the least is 2");
  std::memset(file.data(), 0xff, 8);
  EXPECT_EQ(message_of([&] { parse(file); }),
            "m.safetensors: a header of 18446744073709551615 bytes is too long, the limit is 100000000; "
            "this is not a safetensors file");
}

TEST(Safetensors, HeadersThatAreNotJsonObjectsAreRefused) {
  EXPECT_EQ(refusal("[]", 0), "m.safetensors: its header does not begin with '{'");
  EXPECT_EQ(refusal(" {}", 0), "m.safetensors: its header does not begin with '{'");
  EXPECT_NE(refusal("{\"a\"", 0), "");
  EXPECT_NE(refusal("{}x", 0), "");
  EXPECT_NE(refusal("{\"\xff\":1}", 0), "");
  EXPECT_EQ(refusal(R"({"a":1})", 0), "m.safetensors: a: its entry in the header is not an object");
  EXPECT_EQ(refusal("{}    ", 0), "");
}

TEST(Safetensors, DuplicateNamesAreNamed) {
  const std::string a = tensor("a.weight", "U8", "[1]", "[0,1]");
  EXPECT_NE(refusal("{" + a + "," + a + "}", 1).find("duplicate key 'a.weight'"), std::string::npos);
}

TEST(Safetensors, KeysAreThoseOfTheFormat) {
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[1]}})", 1), "m.safetensors: a: has no data_offsets in the header");
  EXPECT_EQ(refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"strides":[1]}})", 1),
            "m.safetensors: a: unknown key 'strides' in the header");
}

TEST(Safetensors, UnknownDtypesAreNamed) {
  EXPECT_EQ(refusal("{" + tensor("a", "F8", "[1]", "[0,1]") + "}", 1), "m.safetensors: a: unknown dtype 'F8'");
  EXPECT_EQ(refusal("{" + tensor("a", "bfloat16", "[1]", "[0,2]") + "}", 2),
            "m.safetensors: a: unknown dtype 'bfloat16'");
  EXPECT_EQ(refusal(R"({"a":{"dtype":3,"shape":[1],"data_offsets":[0,1]}})", 1),
            "m.safetensors: a: dtype is not a string");
}

TEST(Safetensors, ShapesThatLieAboutTheSizeAreRefused) {
  EXPECT_EQ(refusal("{" + tensor("a", "BF16", "[2,3]", "[0,10]") + "}", 10),
            "m.safetensors: a: data_offsets [0,10] hold 10 bytes, but BF16 [2,3] takes 12");
  EXPECT_EQ(refusal("{" + tensor("a", "F4", "[3]", "[0,2]") + "}", 2),
            "m.safetensors: a: F4 [3] does not fill its last byte");
  EXPECT_EQ(refusal("{" + tensor("a", "F6_E2M3", "[4]", "[0,3]") + "}", 3), "");
}

TEST(Safetensors, ShapesThatOverflowAreRefused) {
  const std::string large = "[4294967296,4294967296]";
  EXPECT_EQ(refusal("{" + tensor("a", "F32", large, "[0,0]") + "}", 0),
            "m.safetensors: a: F32 [4294967296,4294967296] is too large to be counted in 64 bits");
  EXPECT_EQ(
      refusal("{" + tensor("a", "U8", "[9223372036854775808]", "[0,0]") + "}", 0),
      "m.safetensors: a: shape 9223372036854775808 in [9223372036854775808] is not a non-negative 64-bit integer");
}

TEST(Safetensors, IntegersAreNonNegativeIntegers) {
  for (const char* bad : {"-1", "1.0", "1e0", "\"1\"", "null", "[1]", "true"}) {
    EXPECT_NE(refusal("{" + tensor("a", "U8", fmt::format("[{}]", bad), "[0,1]") + "}", 1), "") << bad;
    EXPECT_NE(refusal("{" + tensor("a", "U8", "[1]", fmt::format("[0,{}]", bad)) + "}", 1), "") << bad;
  }
  EXPECT_EQ(refusal("{" + tensor("a", "U8", "1", "[0,1]") + "}", 1),
            "m.safetensors: a: shape is not a list of integers");
  EXPECT_EQ(refusal("{" + tensor("a", "U8", "[1]", "[0,1,1]") + "}", 1),
            "m.safetensors: a: data_offsets [0,1,1] are not a pair");
}

TEST(Safetensors, OffsetsThatLieAreRefused) {
  EXPECT_EQ(refusal("{" + tensor("a", "U8", "[1]", "[1,0]") + "}", 1),
            "m.safetensors: a: data_offsets [1,0] end before they begin");
  EXPECT_EQ(refusal("{" + tensor("a", "U8", "[1]", "[9223372036854775806,9223372036854775807]") + "}", 1),
            "m.safetensors: a: data_offsets [9223372036854775806,9223372036854775807] reach beyond the 1 bytes of "
            "tensors in the file; the file may be truncated: download or copy it again");
}

TEST(Safetensors, OverlapsGapsAndLeftoverBytesAreRefused) {
  const auto pair = [](std::string_view second) {
    return "{" + tensor("a", "U8", "[4]", "[0,4]") + "," + tensor("b", "U8", "[4]", second) + "}";
  };
  EXPECT_EQ(refusal(pair("[4,8]"), 8), "");
  EXPECT_EQ(refusal(pair("[2,6]"), 6), "m.safetensors: b: begins at byte 2, but a ends at byte 4: they overlap");
  EXPECT_EQ(refusal(pair("[5,9]"), 9), "m.safetensors: b: begins at byte 5, but a ends at byte 4: a gap");
  EXPECT_EQ(refusal(pair("[0,4]"), 4), "m.safetensors: b: begins at byte 0, but a ends at byte 4: they overlap");
  EXPECT_EQ(refusal(pair("[4,8]"), 9), "m.safetensors: b ends at byte 8, but the file has 9 bytes of tensors");
  EXPECT_EQ(refusal("{" + tensor("a", "U8", "[4]", "[1,5]") + "}", 5),
            "m.safetensors: a: begins at byte 1, but the header ends at byte 0: a gap");
  EXPECT_EQ(refusal("{}", 1), "m.safetensors: the header ends at byte 0, but the file has 1 bytes of tensors");
}

TEST(Safetensors, MetadataIsAMapOfStrings) {
  EXPECT_EQ(parse(container(R"({"__metadata__":{"format":"pt"}})", 0)).metadata.at("format"), "pt");
  EXPECT_TRUE(parse(container(R"({"__metadata__":null})", 0)).metadata.empty());
  EXPECT_EQ(refusal(R"({"__metadata__":{"n":null}})", 0),
            "m.safetensors: __metadata__: the value of 'n' is not a string");
  EXPECT_EQ(refusal(R"({"__metadata__":{"n":1}})", 0), "m.safetensors: __metadata__: the value of 'n' is not a string");
  EXPECT_EQ(refusal(R"({"__metadata__":[]})", 0), "m.safetensors: __metadata__: is not an object");
}

TEST(Safetensors, WhatCouldNotBeReadIsNotWritten) {
  const auto refused = [](std::vector<TensorInfo> tensors) {
    return message_of([&] { make_safetensors_header(tensors, {}); });
  };
  const TensorInfo a{.name = "a", .dtype = DType::U8, .shape = {1}};
  EXPECT_EQ(refused({a, a}), "a: two tensors would have this name");
  EXPECT_EQ(refused({{.name = "__metadata__", .dtype = DType::U8}}), "__metadata__: two tensors would have this name");
  EXPECT_EQ(refused({{.name = "a", .dtype = DType::U8, .shape = {-1}}}), "a: U8 [-1] has a negative dimension");
  EXPECT_NE(refused({{.name = "\xff", .dtype = DType::U8}}), "");
  std::vector<TensorInfo> large;  // 16 times 2^59 bytes
  for (char name = 'a'; name < 'q'; ++name)
    large.push_back({.name = {name}, .dtype = DType::U8, .shape = {int64_t{1} << 59}});
  EXPECT_EQ(refused(large), "p: the file would be too large to be counted in 64 bits");
}

TEST(Safetensors, FilesAreReadWithoutTheirTensors) {
  const testing::TemporaryDirectory directory;
  testing::write_safetensors(directory / "m.safetensors", {{.name = "a", .dtype = DType::F32, .shape = {2, 2}}});
  const SafetensorsHeader header = read_safetensors_header(File::open(directory / "m.safetensors"));
  EXPECT_EQ(header.tensors.at(0).shape, (std::vector<int64_t>{2, 2}));
  write_text(directory / "short", "123");
  EXPECT_EQ(message_of([&] { read_safetensors_header(File::open(directory / "short")); }, directory.path()),
            "short: 3 bytes are too few for a safetensors file");
  write_text(directory / "lies", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f", 8) + "{}");
  EXPECT_THROW(read_safetensors_header(File::open(directory / "lies")), Error);
}

}  // namespace
}  // namespace spinor::safetensors_test
