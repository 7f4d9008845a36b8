/* Made by an independent program from the formula in docs/forwarding.md, *Keys and hashes*. */
static const struct vector {
    uint64_t vrf;
    uint8_t protocol;
    const char *source, *destination;
    uint16_t source_port, destination_port;
    uint64_t hash;
    uint32_t pick[3];  /* attempts 0, 1 and 15 of 1,000 */
    uint16_t owner[2]; /* of 2 and of 64 workers: of the hash with VRF 0 */
} vectors[] = {
    {UINT64_C(1), 6, "10.1.0.20", "10.2.0.5", 40000, 443, UINT64_C(0xacf0c34327c85198), {901, 989, 974}, {0, 15}},
    {UINT64_C(0), 17, "192.0.2.1", "198.51.100.7", 53, 53, UINT64_C(0xd741345b129cf959), {385, 168, 665}, {1, 53}},
    {UINT64_C(7), 1, "10.1.0.20", "203.0.113.9", 4711, 0, UINT64_C(0x9dadb4fdadb96b5e), {301, 424, 119}, {0, 9}},
    {UINT64_C(1),
     6,
     "2001:db8:1::14",
     "2001:db8:2::5",
     40000,
     443,
     UINT64_C(0x8b2188574a9ecec8),
     {592, 499, 586},
     {1, 43}},
    {UINT64_C(9223372036854775813),
     17,
     "fe80::1",
     "ff02::1",
     1,
     65535,
     UINT64_C(0x4f990117245532e5),
     {328, 623, 611},
     {0, 7}},
    {UINT64_C(2), 6, "10.0.0.1", "10.0.0.1", 2, 1, UINT64_C(0x7d5fbe636a5cbdf2), {624, 560, 96}, {0, 12}},
    {UINT64_C(2), 50, "10.0.0.2", "10.0.0.1", 0, 0, UINT64_C(0xa50bcebc024716d4), {189, 634, 346}, {0, 23}},
    {UINT64_C(4294967295), 58, "::2", "2001:db8::", 9, 0, UINT64_C(0xcefd6ca4791e5325), {130, 972, 77}, {0, 6}},
};
