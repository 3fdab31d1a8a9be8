import type { SourceText } from './source-text.ts'
import type { Translation } from './translation.ts'
import { marked } from './values.ts'

/**
 * Marks the variables of the environment in a source: `pattern` finds their names, and a default after them. A variable
 * without a default gets an example.
 */
export function withEnvironment(source: SourceText, pattern: RegExp, translation: Translation): SourceText {
  const text = source.text.replaceAll(pattern, (_whole, name: string, fallback?: unknown) => {
    if (typeof fallback === 'string') return marked(`${name}:-${fallback}`)
    translation.variable(name, exampleOf(name))
    return marked(name)
  })
  return { ...source, text }
}

// What a variable is for is known by its name alone, and matters only while the config is checked.
function exampleOf(name: string): string {
  if (/URL|URI|ORIGIN|ENDPOINT|UPSTREAM|BACKEND|SERVICE/i.test(name)) return 'http://localhost:4001'
  if (/PORT$/i.test(name)) return '4001'
  if (/RATE|LIMIT|PER_SECOND|PER_MINUTE|BURST/i.test(name)) return '5'
  return 'example.com'
}
