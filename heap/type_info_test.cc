#include "heap/type_info.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "heap/field.h"

namespace ebb {

struct TypeInfoTestNode {
  int64_t value;
  Field<TypeInfoTestNode> left, right;
};

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Node = TypeInfoTestNode;

std::vector<uintptr_t> Edges(const TypeInfo& type, uintptr_t start) {
  std::vector<uintptr_t> edges;
  ForEachReference(type, start, [&edges](uintptr_t edge) { edges.push_back(edge); });
  return edges;
}

TEST(TypeInfoTest, FixedType) {
  constexpr const TypeInfo& type = kTypeInfo<Node>;
  EXPECT_EQ(type.kind, ObjectKind::kFixed);
  EXPECT_EQ(type.object_bytes, 8 + sizeof(Node));
  EXPECT_EQ(type.pointer_map, 0b110u);
  EXPECT_EQ(type.offsets, nullptr);
  EXPECT_EQ(type.magic, kTypeInfoMagic);
  EXPECT_EQ(type.name, "ebb::TypeInfoTestNode");
  EXPECT_FALSE(type.align16);
  EXPECT_TRUE(type.has_references());
  EXPECT_EQ(type.ObjectBytes(0), 32);
  EXPECT_THAT(Edges(type, 1000), ElementsAre(1008, 1016));
}

struct Odd {
  char c[13];
};
struct Empty {};
struct alignas(16) Wide {
  double d[2];
};

TEST(TypeInfoTest, SizesAreWholeWordsAndPayloadsNotEmpty) {
  EXPECT_EQ(kTypeInfo<Odd>.object_bytes, 24);
  EXPECT_EQ(kTypeInfo<Empty>.object_bytes, 16);
  EXPECT_EQ(kTypeInfo<char>.object_bytes, 16);
  EXPECT_EQ(kTypeInfo<Wide>.object_bytes, 24);
  EXPECT_TRUE(kTypeInfo<Wide>.align16);
  EXPECT_FALSE(kTypeInfo<Odd>.has_references());
}

// The last reference the map can hold, and the first it cannot.
struct LastOfMap {
  Field<Node> first;
  int64_t padding[62];
  Field<Node> last;
};
struct FirstOfTable {
  Field<Node> first;
  int64_t padding[63];
  Field<Node> last;
};

TEST(TypeInfoTest, ReferencesPastTheMapGoToATable) {
  EXPECT_EQ(kTypeInfo<LastOfMap>.pointer_map, (uint64_t{1} << 63) | 1);
  EXPECT_EQ(kTypeInfo<LastOfMap>.offsets, nullptr);
  EXPECT_THAT(Edges(kTypeInfo<LastOfMap>, 0), ElementsAre(0, 63 * 8));

  constexpr const TypeInfo& table = kTypeInfo<FirstOfTable>;
  EXPECT_EQ(table.pointer_map, 0u);
  ASSERT_NE(table.offsets, nullptr);
  EXPECT_EQ(table.offset_count, 2u);
  EXPECT_TRUE(table.has_references());
  EXPECT_THAT(Edges(table, 16), ElementsAre(16, 16 + 64 * 8));
}

TEST(TypeInfoTest, Arrays) {
  alignas(16) uint64_t payload[16] = {};
  const uintptr_t address = reinterpret_cast<uintptr_t>(payload);

  payload[0] = 5;
  EXPECT_EQ(kArrayTypeInfo<char>.kind, ObjectKind::kArray);
  EXPECT_EQ(kArrayTypeInfo<char>.ObjectBytes(address), 24);  // header, length, 5 bytes
  EXPECT_EQ(kArrayTypeInfo<char>.ArrayElements(address), address + 8);
  EXPECT_EQ(kArrayTypeInfo<char>.name, "char[]");

  payload[0] = 0;
  EXPECT_EQ(kArrayTypeInfo<char>.ObjectBytes(address), 16);

  payload[0] = 3;
  constexpr const TypeInfo& references = kArrayTypeInfo<Field<Node>>;
  EXPECT_EQ(references.ObjectBytes(address), 8 + 8 + 24);
  EXPECT_EQ(references.element_bytes, 8u);
  EXPECT_EQ(references.pointer_map, 1u);
  EXPECT_THAT(std::string(references.name), HasSubstr("Field"));

  constexpr const TypeInfo& nodes = kArrayTypeInfo<Node>;
  EXPECT_EQ(nodes.ObjectBytes(address), 8 + 8 + 3 * sizeof(Node));
  EXPECT_THAT(Edges(nodes, nodes.ArrayElements(address)), ElementsAre(address + 16, address + 24));
}

TEST(TypeInfoTest, ElementsAlignedTo16) {
  alignas(16) uint64_t payload[8] = {2};
  const uintptr_t address = reinterpret_cast<uintptr_t>(payload);
  constexpr const TypeInfo& type = kArrayTypeInfo<Wide>;
  EXPECT_TRUE(type.align16);
  EXPECT_EQ(type.ArrayElements(address) % 16, 0);
  EXPECT_EQ(type.ObjectBytes(address), 8 + 16 + 2 * sizeof(Wide));
}

TEST(TypeInfoTest, ExtraBytes) {
  alignas(16) uint64_t payload[8] = {};
  const uintptr_t address = reinterpret_cast<uintptr_t>(payload);

  // The payload begins as without them.
  constexpr const TypeInfo& node = kTypeInfoWithBytes<Node>;
  EXPECT_EQ(node.kind, ObjectKind::kWithBytes);
  EXPECT_EQ(node.pointer_map, kTypeInfo<Node>.pointer_map);
  EXPECT_EQ(node.name, kTypeInfo<Node>.name);
  EXPECT_EQ(node.magic, kTypeInfoMagic);
  EXPECT_EQ(node.ExtraBytes(address), address + sizeof(Node) + 8);
  EXPECT_EQ(&node.ExtraByteCount(address), &payload[3]);
  EXPECT_EQ(node.ObjectBytes(address), 8 + sizeof(Node) + 8);
  node.ExtraByteCount(address) = 5;
  EXPECT_EQ(node.ObjectBytes(address), 8 + sizeof(Node) + 8 + 8);
  EXPECT_EQ(node.ObjectBytesWith(8), node.ObjectBytes(address));
  EXPECT_THAT(Edges(node, 1000), ElementsAre(1008, 1016));

  // The number is never the payload's first word, which worklists use of what has moved.
  EXPECT_EQ(&kTypeInfoWithBytes<char>.ExtraByteCount(address), &payload[1]);
  EXPECT_EQ(&kTypeInfoWithBytes<Empty>.ExtraByteCount(address), &payload[1]);
  EXPECT_EQ(&kTypeInfoWithBytes<Odd>.ExtraByteCount(address), &payload[2]);

  constexpr const TypeInfo& wide = kTypeInfoWithBytes<Wide>;
  EXPECT_TRUE(wide.align16);
  EXPECT_EQ(wide.ExtraBytes(address), address + sizeof(Wide) + 16);
  EXPECT_EQ(&wide.ExtraByteCount(address), &payload[3]);

  constexpr const TypeInfo& table = kTypeInfoWithBytes<FirstOfTable>;
  EXPECT_THAT(Edges(table, 16), ElementsAre(16, 16 + 64 * 8));
}

TEST(TypeInfoTest, Filler) {
  EXPECT_EQ(kFillerType.kind, ObjectKind::kFiller);
  EXPECT_EQ(kFillerType.ObjectBytes(0), 8);
  EXPECT_FALSE(kFillerType.has_references());
  EXPECT_EQ(kFillerType.magic, kTypeInfoMagic);
}

TEST(TypeInfoTest, OneDescriptorPerTypeWithRoomForTagBits) {
  EXPECT_NE(&kTypeInfo<Node>, &kTypeInfo<Odd>);
  EXPECT_NE(static_cast<const void*>(&kTypeInfo<Node>), &kArrayTypeInfo<Node>);
  EXPECT_NE(&kTypeInfo<Node>, &kTypeInfoWithBytes<Node>);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(&kTypeInfoWithBytes<Node>) % 32, 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(&kTypeInfo<Node>) % 32, 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(&kArrayTypeInfo<Odd>) % 32, 0);
}

}  // namespace
}  // namespace ebb
