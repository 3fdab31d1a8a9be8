/** A value of a config in the making. */
export type Json = string | number | boolean | null | Json[] | JsonObject

/** An object of a config in the making; options are added to it one by one. */
export interface JsonObject {
  [key: string]: Json
}

/** Returns the object at a key; puts an empty one there if there is none. */
export function objectAt(parent: JsonObject, key: string): JsonObject {
  const value = parent[key]
  if (isJsonObject(value)) return value
  const made: JsonObject = {}
  parent[key] = made
  return made
}

/** Returns the list at a key; puts an empty one there if there is none. */
export function listAt(parent: JsonObject, key: string): Json[] {
  const value = parent[key]
  if (Array.isArray(value)) return value
  const made: Json[] = []
  parent[key] = made
  return made
}

/** Returns whether a value is an object and not a list. */
export const isJsonObject = (value: Json | undefined): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
