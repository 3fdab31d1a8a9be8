/** Reads the users of an Apache htpasswd file, `name:hash` in each line; undefined for JSON. */
export function readHtpasswd(text: string): object[] | undefined {
  const content = text.replace(/^\uFEFF/, '').trimStart()
  if (content === '' || content.startsWith('[') || content.startsWith('{')) return undefined
  return content
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const at = line.indexOf(':')
      return at === -1 ? { name: line } : { name: line.slice(0, at), password: line.slice(at + 1) }
    })
}

// The forms of htpasswd that are guessed within hours.
const WEAK: readonly (readonly [RegExp, string])[] = [
  [/^\$(apr)?1\$/, 'an MD5 hash'],
  [/^\{SHA\}/i, 'a SHA-1 hash'],
  [/^\$[56]\$/, 'a SHA-2 crypt hash'],
  [/^\$2[aby]\$/, 'a bcrypt hash that is damaged or has a cost over 14'],
  [/^[./A-Za-z0-9]{13}$/, 'a crypt hash']
]

/** Names the kind of a hash that is not accepted; undefined if it is none that is known. */
export const kindOfHash = (hash: string): string | undefined => WEAK.find(([form]) => form.test(hash))?.[1]
