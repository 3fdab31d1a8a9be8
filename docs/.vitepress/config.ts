import { copyFileSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { defineConfig } from 'vitepress'
import { sidebar } from './contents.ts'
import { linkedFiles, rewrites, siteLink, textPath } from './links.ts'

// Headings have the anchors that GitHub makes, so that one link works in both places.
const slugify = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
    .replaceAll(' ', '-')

const base = process.env['DOCS_BASE'] ?? '/'

export default defineConfig({
  title: 'Sallyport',
  description: 'An API gateway for Node.js',
  base,
  rewrites,
  head: [['link', { rel: 'icon', href: `${base}logo.svg`, type: 'image/svg+xml' }]],
  markdown: {
    // The highlighter does not know Caddyfiles.
    languageAlias: { caddyfile: 'nginx' },
    anchor: { slugify },
    toc: { slugify },
    headers: { slugify },
    config(md) {
      // Vue would take "{{" in code for a template.
      const inline = md.renderer.rules.code_inline
      md.renderer.rules.code_inline = (tokens, i, options, env, self) => {
        tokens[i]?.attrSet('v-pre', '')
        return inline?.(tokens, i, options, env, self) ?? self.renderToken(tokens, i, options)
      }
      md.core.ruler.push('site_links', ({ tokens, env }) => {
        for (const { children } of tokens)
          for (const token of children ?? [])
            if (token.type === 'link_open') {
              const link = siteLink(token.attrGet('href') ?? '', env.realPath ?? env.path)
              const isText = link.startsWith('/files/')
              token.attrSet('href', isText ? base + link.slice(1) : link)
              if (isText) token.attrSet('target', '_blank')
            }
      })
    }
  },
  themeConfig: {
    logo: '/logo.svg',
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: sidebar(),
    nav: [
      { text: 'Tutorial', link: '/getting-started' },
      { text: 'Guides', link: '/contents' },
      { text: 'Reference', link: '/reference/' },
      { text: 'Changes', link: '/source/changelog' }
    ]
  },
  buildEnd({ outDir }) {
    for (const file of linkedFiles().filter((each) => !each.endsWith('.md'))) {
      const copy = join(outDir, textPath(file))
      mkdirSync(dirname(copy), { recursive: true })
      copyFileSync(file, copy)
    }
  }
})
