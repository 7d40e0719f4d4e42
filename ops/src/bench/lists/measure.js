// Does one thing on the console's page and says, in milliseconds, when the page shows what was asked for: at the frame
// after the change, as a person sees it. WebDriver puts its callback behind the arguments.
const [deed, text, done] = arguments;

const rows = () => [...document.querySelectorAll('main table tbody tr, main li.sl-event')];
const first = () => rows()[0]?.textContent;
const says = (selector, text) => document.querySelector(selector)?.textContent.trim() === text;
const said = (text) => document.querySelector('main')?.textContent.includes(text);
const before = first();

const search = (text) => {
  const field = document.querySelector('input[name=search]');
  Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(field, text);
  field.dispatchEvent(new InputEvent('input', { bubbles: true }));
};

const deeds = {
  open: {
    begin: () => [...document.querySelectorAll('nav a')].find((link) => link.textContent.trim() === text).click(),
    shown: () => says('h1', text) && !document.querySelector('main .sl-loading')
      && (rows().length > 0 || document.querySelector('main .pf-v6-c-empty-state') !== null),
  },
  page: {
    begin: () => document.querySelector("button[aria-label='Next page']").click(),
    shown: () => said('Page 2') && rows().length > 0 && first() !== before,
  },
  back: {
    begin: () => document.querySelector("button[aria-label='Previous page']").click(),
    shown: () => said('Page 1') && rows().length > 0 && first() !== before,
  },
  search_much: {
    begin: () => search(text),
    shown: () => rows().length > 1 && rows().every((row) => row.textContent.includes(text)),
  },
  search_one: {
    begin: () => search(text),
    shown: () => rows().length === 1,
  },
  search_nothing: {
    begin: () => search(text),
    shown: () => said('Nothing matches the search'),
  },
  search_all: {
    begin: () => search(''),
    shown: () => rows().length > 1,
  },
};

const { begin, shown } = deeds[deed];
const begun = performance.now();
const seen = () => requestAnimationFrame(() => done(performance.now() - begun));
const observer = new MutationObserver(() => {
  if (shown()) {
    observer.disconnect();
    seen();
  }
});
observer.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
begin();
