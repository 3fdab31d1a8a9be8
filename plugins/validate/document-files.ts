import { filesReferredBy } from '../../src/lib/openapi/read-document.ts'

const MAX_FILES = 1000

/** Lists an OpenAPI document and all files that it leads to. */
export function filesOfDocument(file: string): string[] {
  const found = new Set([file])
  for (const each of found) {
    if (found.size > MAX_FILES) break
    for (const other of filesReferredBy(each)) found.add(other)
  }
  return [...found]
}
