#include "spinor/io/shard_layout.h"

#include <gtest/gtest.h>

#include <map>

#include "spinor/base/json.h"
#include "spinor/io/testing.h"

namespace spinor::shard_layout_test {
namespace {

using testing::message_of;

TensorInfo bytes(std::string name, int64_t count) {
  return {.name = std::move(name), .dtype = DType::U8, .shape = {count}};
}

TEST(ShardLayout, FilesHeadersAndIndexEqualThoseOfSavePretrained) {
  const std::string path = SPINOR_SOURCE_DIR "/tests/golden/shards.json";
  const Json golden = parse_json(read_text(path), path);
  std::vector<TensorInfo> tensors;
  for (const Json& t : golden["tensors"])
    tensors.push_back(
        {.name = t["name"], .dtype = find_dtype(t["dtype"].get<std::string>())->dtype, .shape = t["shape"]});
  for (const auto& [size, saved] : golden["saved"].items()) {
    const OutputLayout layout = layout_shards(tensors, parse_size(size));
    EXPECT_EQ(layout.index, saved["index"].get<std::string>()) << size;
    std::map<std::string, std::string> headers;
    for (const OutputLayout::Shard& shard : layout.shards) headers[shard.file] = shard.header.substr(8);
    EXPECT_EQ(headers, (saved["headers"].get<std::map<std::string, std::string>>())) << size;
  }
}

TEST(ShardLayout, SizesAddUp) {
  const OutputLayout layout = layout_shards({bytes("a", 3), bytes("b", 5), bytes("c", 4)}, 8);
  ASSERT_EQ(layout.shards.size(), 2u);
  EXPECT_EQ(layout.bytes, 12);
  for (const OutputLayout::Shard& shard : layout.shards) {
    EXPECT_EQ(shard.tensors.front().begin, std::ssize(shard.header));
    EXPECT_EQ(shard.tensors.back().end, shard.bytes);
  }
}

TEST(ShardLayout, AShardMayBeFullToTheLastByte) {
  EXPECT_EQ(layout_shards({bytes("a", 3), bytes("b", 5)}, 8).shards.size(), 1u);
  EXPECT_EQ(layout_shards({bytes("a", 3), bytes("b", 5)}, 7).shards.size(), 2u);
}

TEST(ShardLayout, ImpossibleLayoutsAreRefused) {
  EXPECT_EQ(message_of([] { layout_shards({}, 8); }), "output: has no tensors");
  EXPECT_EQ(message_of([] { layout_shards({bytes("a", 1)}, 0); }), "max_shard_size: 0 bytes hold no tensor");
  EXPECT_EQ(message_of([] { layout_shards({bytes("a", 4), bytes("a", 4)}, 4); }),
            "a: two tensors would have this name");
  EXPECT_EQ(message_of([] { layout_shards({bytes("a", 4), bytes("a", 4)}, 8); }),
            "a: two tensors would have this name");
}

TEST(ShardLayout, SizesAreReadAsTransformersReadsThem) {
  EXPECT_EQ(parse_size("5GB"), 5'000'000'000);
  EXPECT_EQ(parse_size(" 500 mb "), 500'000'000);
  EXPECT_EQ(parse_size("1.1GB"), 1'100'000'000);
  EXPECT_EQ(parse_size("2KB"), 2000);
  EXPECT_EQ(parse_size("3TB"), 3'000'000'000'000);
  EXPECT_EQ(parse_size("5GiB"), 5'368'709'120);
  EXPECT_EQ(parse_size("4096"), 4096);
  for (const char* bad : {"", "GB", "5XB", "-5GB", "0", "nan", "infGB", "1e30GB", "5 G B", "0.1"}) {
    EXPECT_EQ(message_of([&] { parse_size(bad); }), std::string("size '") + bad +
                                                        "': is not a number of bytes; write 5GB, 500MB, 2GiB or "
                                                        "5000000000");
  }
}

}  // namespace
}  // namespace spinor::shard_layout_test
