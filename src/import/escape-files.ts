import type { Json } from './json.ts'

/** Makes `${file:…}` in all texts literal: no source may name a file whose content becomes a part of the config. */
export function escapeFiles(value: Json): void {
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    if (typeof inner === 'string')
      Reflect.set(
        value,
        key,
        inner.replaceAll(/(?<!\$)\$\{file:/g, () => '$${file:')
      )
    else escapeFiles(inner)
  }
}
