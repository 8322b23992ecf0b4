/* EXPORT for the headers that follow, up to the next time that this one is included: those of unit OF_UNIT.

   A unit shows its own functions, and has copies of others' where it calls them. */

#undef EXPORT
#if UNIT == OF_UNIT
#define EXPORT __attribute__((visibility("default")))
#else
#define EXPORT static __attribute__((unused))
#endif
#undef OF_UNIT
