import type { Translation } from '../translation.ts'
import { literal } from '../values.ts'

// deck's `${{ env "NAME" }}`, a vault of the environment, and what envsubst replaces in the whole text.
const VARIABLE = /\$\{\{\s*env\s+"(\w+)"\s*\}\}|\{vault:\/\/env\/([\w-]+)[^}]*\}/g
const WHOLE_VARIABLE = /^\$\{?([A-Za-z_]\w*)\}?$/

/** Returns the name of the variable that a text stands for, if it is nothing else. */
export function variableIn(text: string): string | undefined {
  const [found] = text.matchAll(VARIABLE)
  if (found !== undefined && found[0] === text.trim()) return nameOf(found)
  return WHOLE_VARIABLE.exec(text.trim())?.[1]
}

/** Returns a text as an option, with variables of the environment where the source has some. */
export function withVariables(text: string, translation: Translation, example = 'localhost'): string {
  let made = ''
  let end = 0
  for (const found of text.matchAll(VARIABLE)) {
    made += literal(text.slice(end, found.index)) + translation.variable(nameOf(found), example)
    end = found.index + found[0].length
  }
  return made + literal(text.slice(end))
}

const nameOf = ([, deck, vault = '']: RegExpMatchArray): string =>
  deck ?? vault.replaceAll('-', '_').toUpperCase()
