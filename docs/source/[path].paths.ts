// Pages of the repository outside of docs/ that the documentation links to.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { linkedFiles, sourcePath, withSiteLinks } from '../.vitepress/links.ts'

const docs = fileURLToPath(new URL('..', import.meta.url))

export default {
  paths() {
    const pages = readdirSync(docs, { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.md') && !/node_modules|\.vitepress|\[/.test(name))
      .map((name) => join(docs, name))
    return linkedFiles(pages)
      .filter((file) => file.endsWith('.md'))
      .map((file) => ({
        params: { path: sourcePath(file) },
        content: withSiteLinks(readFileSync(file, 'utf8'), file)
      }))
  }
}
