// Characters of the private use area around the name of a variable; readSourceText refuses them in a source.
const BEGIN = '\uE000'
const END = '\uE001'
const MARKED = /\uE000([^\uE000\uE001]*)\uE001/g

/** The characters that mark a variable of the environment in the text of a source. */
export const MARKS = /[\uE000\uE001]/

/** Marks a variable of the environment, such as `NAME` or `NAME:-default`, in a text of a source: `literal` keeps it one. */
export const marked = (variable: string): string => `${BEGIN}${variable}${END}`

/** A variable of the environment that is all of a text. */
export const WHOLE_MARK = /^\uE000([^\uE000\uE001]*)\uE001$/

/** Returns a text as an option where only variables that are marked have a meaning. */
export const literal = (text: string): string => unmarked(text.replaceAll('${', () => '$${'))

/** Returns a text as an option where `{…}` is a value of the request, too. */
export const literalTemplate = (text: string): string =>
  unmarked(text.replaceAll('${', () => '$${').replaceAll('{', '{{'))

const unmarked = (text: string): string => text.replaceAll(MARKED, (_whole, name: string) => `\${${name}}`)
